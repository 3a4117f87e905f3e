import { AgeClock } from '../flow/age-clock.ts'
import { bestEffort } from '../flow/best-effort.ts'
import { tellSeldom } from '../flow/seldom.ts'
import { type Digest, digestAlgorithm, digestOf } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { CheckOptions, StoredBlob } from '../storage/blob-store.ts'
import { StorageError } from '../storage/error.ts'
import type { SealedFile } from '../storage/partial.ts'
import type { BlobRow } from '../storage/stored-bytes.ts'
import type { BlobRecords } from './blob-records.ts'
import { Damage, type Fault, isSameFile, isStill, type StoredParts } from './damage.ts'
import { FileChecks, noneIfBroken } from './file-checks.ts'
import { whenNotBusy } from './patience.ts'
import { smallSize } from './small-size.ts'

/** Milliseconds for which bytes are trusted that were compared with their digest, where the scrub does not come sooner. */
const longestTrustMs = 7 * 24 * 60 * 60 * 1000

/** What became of a blob that was looked at. */
export type Verdict = 'whole' | 'damaged' | 'absent'

/**
 * What is stored, never complete where it was damaged on disk. Each time that it is opened a file is compared with what
 * was recorded when it was sealed; one that was touched since, or not verified for long, is hashed beside the transfer,
 * whose last byte waits for the result; so is one that changes while it is read. What is small is hashed before its first byte. Dispose to end what is hashed.
 */
export class StoredBlobs implements AsyncDisposable {
  readonly damage: Damage
  readonly #options: StoredParts
  readonly #checks: FileChecks
  readonly #trustMs: number
  readonly #clock: AgeClock

  constructor(options: StoredParts) {
    this.#options = options
    this.damage = new Damage(options)
    this.#checks = new FileChecks((...asked) => options.store.check(...asked))
    this.#trustMs = Math.min(options.scrubMs ?? Number.POSITIVE_INFINITY, longestTrustMs)
    this.#clock = options.clock ?? new AgeClock(this.#trustMs)
  }

  /** A reader, to be closed by the caller; undefined where the blob is not stored, or is of no use and was removed. */
  async open(digest: Digest): Promise<BlobReader | undefined> {
    const { store, documents } = this.#options
    const kept = documents.get(digest)
    if (kept) return readerOf(kept)
    const reader = await whenNotBusy(() => store.open(digest)).catch((error) =>
      this.#onFailure(digest, error),
    )
    if (!reader) {
      await this.damage.missing(digest)
      return undefined
    }
    this.damage.allowed(digest)
    if (this.damage.isStuck(digest, reader.file)) {
      await reader[Symbol.asyncDispose]()
      return undefined
    }
    return reader.size <= smallSize ? this.#openSmall(digest, reader) : this.#openLarge(digest, reader)
  }

  /**
   * The size of a blob in bytes: what `open` would give to its end. Where the file is not the one that was recorded, it
   * is hashed first: whoever pushes, and is told that a blob is here, does not send it. Rejects when `signal` aborts.
   */
  async stat(
    digest: Digest,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<{ readonly size: number } | undefined> {
    const kept = this.#options.documents.get(digest)
    if (kept) return { size: kept.length }
    const file = await whenNotBusy(() => this.damage.stat(digest))
    if (!file) {
      await this.damage.missing(digest)
      return undefined
    }
    if (isSame(await this.#row(digest), file)) return { size: file.size }
    await using reader = await this.open(digest)
    try {
      await reader?.verified(signal ? { signal } : {})
    } catch (error) {
      if (signal?.aborted || error instanceof StorageError || error instanceof RegistryError) throw error
      return undefined
    }
    return reader && { size: reader.size }
  }

  /**
   * Compares all bytes with their digest, as the disk has them now. What is damaged is out of the way then. Throws
   * StorageError where that cannot be; rejects when the signal aborts.
   */
  async verify(digest: Digest, options: CheckOptions = {}): Promise<Verdict> {
    const { store } = this.#options
    const row = await this.#row(digest)
    const file = await store.stat(digest)
    if (file && row && row.size !== file.size) return this.#isDamaged(digest, file, 'wrong')
    const checked = await whenNotBusy(() => store.check(digest, options), options.signal).catch(
      async (error: unknown) => {
        await this.damage.denied(digest, error)
        throw error
      },
    )
    this.damage.allowed(digest)
    if (!checked) {
      await this.damage.missing(digest)
      return 'absent'
    }
    const { file: read, actual } = checked
    if (actual !== digest) return this.#isDamaged(digest, read, actual === undefined ? 'unreadable' : 'wrong')
    await this.#recordGood(digest, read, row !== undefined)
    return 'whole'
  }

  /** Stores what is quarantined of a blob again, where it is whole: whether it was. Throws StorageError. */
  async restore(digest: Digest, signal?: AbortSignal): Promise<boolean> {
    const { store, records, lock, logger } = this.#options
    if (!(await store.quarantine.isWhole(digest, signal))) return false
    // Guards against this order: (1) the file comes back. (2) It is evicted. (3) It is recorded.
    return lock.run(digest, async () => {
      const file = await store.quarantine.restore(digest)
      if (!file) return false
      await records.sealed(digest, file, Date.now())
      logger.info({ digest }, 'a blob that was set aside is whole, and stored again')
      return true
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#checks[Symbol.asyncDispose]()
  }

  async #openSmall(digest: Digest, reader: StoredBlob): Promise<BlobReader | undefined> {
    await using small = reader
    const { documents, lock, store } = this.#options
    // Guards against this order: (1) the file is opened here. (2) Somebody removes the blob: memories forget it, the
    // file goes. (3) What was read here is remembered, and served although it was deleted.
    const bytes = await lock.run<Uint8Array | Fault>(digest, async () => {
      const read = await readAll(small).catch(noneIfBroken)
      if (!read) return 'unreadable'
      if (digestOf(read, digestAlgorithm(digest)) !== digest) return 'wrong'
      if (await isStill(store, digest, small.file)) documents.set(digest, read)
      return read
    })
    if (typeof bytes === 'string') {
      const isGone = await this.damage.found(digest, small.file, bytes)
      if (isGone || bytes === 'wrong') return undefined
      throw new StorageError('BROKEN', `${digest} could not be read`)
    }
    const row = await this.#row(digest)
    if (!isSame(row, small.file)) await this.#recordGood(digest, small.file, row !== undefined)
    return readerOf(bytes)
  }

  async #openLarge(digest: Digest, reader: StoredBlob): Promise<BlobReader | undefined> {
    const row = await this.#row(digest)
    if (row && row.size !== reader.size) {
      await reader[Symbol.asyncDispose]()
      await this.damage.found(digest, reader.file, 'wrong')
      return undefined
    }
    const judge = async (actual: Digest | undefined, look: SealedFile): Promise<void> => {
      const isWhole = actual === digest && look.size === reader.size
      if (isWhole) return this.#recordGood(digest, look, row !== undefined)
      await this.damage.found(digest, look, actual === undefined ? 'unreadable' : 'wrong')
      throw new Error(`${digest} was damaged on disk`)
    }
    const since = this.#clock.now() - this.#trustMs
    const isKnown = isSame(row, reader.file) && row.verifiedAt >= since
    const checked = this.#checks.reader(digest, reader, judge, { isKnown })
    return isKnown ? this.#watched(digest, checked) : checked
  }

  /** It is whole where it was replaced meanwhile: what is put there was verified. */
  async #isDamaged(digest: Digest, file: SealedFile, fault: Fault): Promise<Verdict> {
    return (await this.damage.found(digest, file, fault)) ? 'damaged' : 'whole'
  }

  /** Where the disk does not give its bytes, whoever reads it is cut: who asks again shall not be. */
  #watched(digest: Digest, reader: BlobReader): BlobReader {
    let isOpen = true
    return {
      size: reader.size,
      get isVerified() {
        return reader.isVerified
      },
      verified: (options) => reader.verified(options),
      read: (...asked) =>
        reader.read(...asked).catch(async (error: unknown) => {
          // What is read while it is closed fails, and says nothing.
          if (isOpen) await bestEffort(this.#onFailure(digest, error), () => {})
          throw error
        }),
      [Symbol.asyncDispose]: () => {
        isOpen = false
        return reader[Symbol.asyncDispose]()
      },
    }
  }

  /** The disk did not give something: resolves where it is out of the way now. Throws `error` where it was that once. */
  async #onFailure(digest: Digest, error: unknown): Promise<undefined> {
    if (await this.damage.denied(digest, error)) throw error
    noneIfBroken(error)
    if ((await this.verify(digest)) === 'whole') throw error
  }

  /** A catalog that cannot be read knows nothing: the bytes are hashed once more. */
  async #row(digest: Digest): ReturnType<BlobRecords['blob']> {
    return this.#options.records.blob(digest).catch(() => undefined)
  }

  async #recordGood(digest: Digest, file: SealedFile, isRecorded: boolean): Promise<void> {
    const { store, records, lock, logger } = this.#options
    // Guards against this order: (1) the file is hashed. (2) It is evicted, with its record. (3) A record is made
    // again, without a file; a manifest that needs the blob is acknowledged by it.
    const recording = lock.run(digest, async () => {
      if (!(await isStill(store, digest, file))) return
      const now = Date.now()
      await (isRecorded ? records.verified(digest, file, now) : records.sealed(digest, file, now))
    })
    await bestEffort(recording, (err) =>
      tellSeldom(
        logger,
        'warn',
        { digest, err },
        'the catalog could not be written: the blob will be hashed again',
      ),
    )
  }
}

/** What was found on the disk, and never verified, has a row as well. */
function isSame(row: BlobRow | undefined, file: SealedFile): row is BlobRow {
  return row !== undefined && row.verifiedAt > 0 && isSameFile(row, file)
}

async function readAll(reader: BlobReader): Promise<Uint8Array> {
  const bytes = new Uint8Array(reader.size)
  for (let position = 0; position < bytes.length; ) {
    const count = await reader.read(bytes.subarray(position), position)
    // A shorter one has another digest.
    if (count === 0) return bytes.subarray(0, position)
    position += count
  }
  return bytes
}

function readerOf(bytes: Uint8Array): BlobReader {
  return {
    size: bytes.length,
    isVerified: true,
    verified: async () => {},
    read: async (buffer, position) => {
      const piece = bytes.subarray(position, position + buffer.length)
      buffer.set(piece)
      return piece.length
    },
    [Symbol.asyncDispose]: async () => {},
  }
}
