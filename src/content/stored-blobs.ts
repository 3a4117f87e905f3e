import type { Logger } from 'pino'
import { bestEffort } from '../flow/best-effort.ts'
import type { KeyedLock } from '../flow/keyed-lock.ts'
import { type Digest, digestAlgorithm, digestOf } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { BlobStore, StoredBlob } from '../storage/blob-store.ts'
import { StorageError } from '../storage/error.ts'
import type { SealedFile } from '../storage/partial.ts'
import type { BlobRecords } from './blob-records.ts'
import type { Documents } from './documents.ts'
import { FileChecks, noneIfBroken } from './file-checks.ts'
import { holdersOfPushed } from './holders.ts'
import { whenNotBusy } from './patience.ts'
import { smallSize } from './small-size.ts'

export interface StoredBlobsOptions {
  readonly store: BlobStore
  readonly records: BlobRecords
  readonly documents: Documents
  readonly lock: KeyedLock<Digest>
  /** `Blobs.remove`. */
  readonly remove: (digest: Digest, condition: () => Promise<boolean>) => Promise<number>
  readonly logger: Logger
}

const lostLine = 'the bytes of a blob that was pushed are lost: push it again'

/**
 * What is stored, never complete where it was damaged on disk. Each time that it is opened a file is compared with what
 * was recorded when it was sealed; one that was touched since, or was never verified, is hashed beside the transfer,
 * whose last byte waits for the result. What is small is hashed before its first byte. Dispose to end what is hashed.
 */
export class StoredBlobs implements AsyncDisposable {
  readonly #options: StoredBlobsOptions
  readonly #checks = new FileChecks()

  constructor(options: StoredBlobsOptions) {
    this.#options = options
  }

  /** A reader, to be closed by the caller; undefined where the blob is not stored, or is of no use and was removed. */
  async open(digest: Digest): Promise<BlobReader | undefined> {
    const { store, documents } = this.#options
    const kept = documents.get(digest)
    if (kept) return readerOf(kept)
    const reader = await whenNotBusy(() => store.open(digest))
    if (!reader) {
      await this.#forget(digest)
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
    const { store, documents } = this.#options
    const kept = documents.get(digest)
    if (kept) return { size: kept.length }
    const file = await whenNotBusy(() => store.stat(digest))
    if (!file) {
      await this.#forget(digest)
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

  [Symbol.asyncDispose](): Promise<void> {
    return this.#checks[Symbol.asyncDispose]()
  }

  async #openSmall(digest: Digest, reader: StoredBlob): Promise<BlobReader | undefined> {
    await using small = reader
    const { documents, lock, store } = this.#options
    // Guards against this order: (1) the file is opened here. (2) Somebody removes the blob: memories forget it, the
    // file goes. (3) What was read here is remembered, and served although it was deleted.
    const bytes = await lock.run(digest, async () => {
      const read = await readAll(small).catch(noneIfBroken)
      if (!read || digestOf(read, digestAlgorithm(digest)) !== digest) return undefined
      if (await isStill(store, digest, small.file)) documents.set(digest, read)
      return read
    })
    if (!bytes) return this.#removeDamaged(digest, small.file)
    const row = await this.#row(digest)
    if (!isSame(row, small.file)) await this.#recordGood(digest, small.file, row !== undefined)
    return readerOf(bytes)
  }

  async #openLarge(digest: Digest, reader: StoredBlob): Promise<BlobReader | undefined> {
    const row = await this.#row(digest)
    if (isSame(row, reader.file)) return reader
    if (row && row.size !== reader.size) {
      await reader[Symbol.asyncDispose]()
      return this.#removeDamaged(digest, reader.file)
    }
    return this.#checks.reader(digest, reader, async (actual) => {
      if (actual === digest) return this.#recordGood(digest, reader.file, row !== undefined)
      await this.#removeDamaged(digest, reader.file)
      throw new Error(`${digest} was damaged on disk`)
    })
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
      logger.warn({ digest, err }, 'the catalog could not be written: the blob will be hashed again'),
    )
  }

  /** The file is the one that was found damaged, or nothing is removed: it may have been mended meanwhile. */
  async #removeDamaged(digest: Digest, file: SealedFile): Promise<undefined> {
    const { store, records, remove, logger } = this.#options
    // Guards against this order: (1) the file is found damaged. (2) A push renames good bytes over it. (3) These go.
    await remove(digest, async () => {
      if (!(await isStill(store, digest, file))) return false
      const repositories = await holdersOfPushed(records, digest)
      if (repositories.length > 0) logger.error({ digest, repositories }, `${lostLine}: damaged on disk`)
      else
        logger.error(
          { digest },
          'a stored blob no longer matches its digest: removed, it will be fetched again',
        )
      await bestEffort(records.gone(digest), (err) =>
        logger.warn({ digest, err }, 'the catalog could not be written'),
      )
      return true
    })
    return undefined
  }

  /** What is recorded of a file that is not there any more goes. */
  async #forget(digest: Digest): Promise<void> {
    const { store, records, lock, logger } = this.#options
    if (!(await this.#row(digest))) return
    // Guards against this order: (1) the file is not found. (2) A push seals it and is recorded. (3) The record goes,
    // and with it what keeps the file of an acknowledged push from being evicted.
    await lock.run(digest, async () => {
      if (await store.stat(digest)) return
      const repositories = await holdersOfPushed(records, digest)
      if (repositories.length > 0)
        logger.error({ digest, repositories }, `${lostLine}: its file is not there`)
      await bestEffort(records.gone(digest), () => {})
    })
  }
}

function isSame(
  row: (SealedFile & { verifiedAt: number | undefined }) | undefined,
  file: SealedFile,
): boolean {
  return row !== undefined && row.verifiedAt !== undefined && isSameFile(row, file)
}

function isSameFile(one: SealedFile, other: SealedFile): boolean {
  return one.size === other.size && one.mtime === other.mtime && one.inode === other.inode
}

async function isStill(store: BlobStore, digest: Digest, file: SealedFile): Promise<boolean> {
  const now = await store.stat(digest)
  return now !== undefined && isSameFile(now, file)
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
