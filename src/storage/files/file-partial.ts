import { type FileHandle, open, rm } from 'node:fs/promises'
import { abortable } from '../../flow/abortable.ts'
import { deferred } from '../../flow/deferred.ts'
import type { Digest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/error.ts'
import type { BlobReader } from '../blob-reader.ts'
import type { PartialOptions } from '../blob-store.ts'
import type { Partial } from '../partial.ts'
import { type ByteInterval, Ranges, type ReadonlyRanges } from '../ranges.ts'
import { absentIfMissing } from './file-errors.ts'
import { PartialJournal } from './partial-journal.ts'
import { PrefixHash } from './prefix-hash.ts'
import { RecentBytes } from './recent-bytes.ts'
import { SharedFile } from './shared-file.ts'

const mebibyte = 1024 * 1024
/** What a power cut may take: the data is synced at least this often while it arrives. */
const syncAfter = { bytes: 64 * mebibyte, milliseconds: 5000 }

/** Readers that follow are woken for this much, or after this time. */
const announceAfter = { bytes: 256 * 1024, milliseconds: 5 }

/** What the store does for its partials. */
interface Hooks {
  /** Moves the file at `path` to its place under `digest`, durably. */
  readonly publish: (path: string, digest: Digest) => Promise<void>
  /** The partial is no longer open. */
  readonly onEnd: () => void
}

/** A `Partial` in a file, with its journal beside it. Opened by `FileBlobStore`. */
export class FilePartial implements Partial {
  readonly id: string
  readonly size: number | undefined
  readonly #path: string
  readonly #file: SharedFile
  readonly #journal: PartialJournal
  readonly #hash: PrefixHash
  readonly #present: Ranges
  readonly #hooks: Hooks
  readonly #recent = new RecentBytes(mebibyte)
  /** Writes under way; no two of them overlap. */
  readonly #writing = new Set<ByteInterval & { readonly done: Promise<void> }>()
  readonly #verified = deferred<void>()
  #arrival = deferred<void>()
  #isVerified = false
  #failure: Error | undefined
  #ended = false
  #unannounced = 0
  #announcing: NodeJS.Timeout | undefined
  #unsyncedBytes = 0
  #syncedAt = performance.now()
  #syncing: Promise<void> | undefined

  private constructor(
    path: string,
    options: PartialOptions,
    parts: { file: FileHandle; journal: PartialJournal; hash: PrefixHash; present: Ranges },
    hooks: Hooks,
  ) {
    this.#path = path
    this.id = options.id
    this.size = options.size
    this.#file = new SharedFile(parts.file)
    this.#journal = parts.journal
    this.#hash = parts.hash
    this.#present = parts.present
    this.#hooks = hooks
  }

  /** Opens the partial at `path`: recovers what the journal beside it vouches for, or starts anew. */
  static async open(path: string, options: PartialOptions, hooks: Hooks): Promise<FilePartial> {
    const journalPath = journalPathOf(path)
    const records = await PartialJournal.read(journalPath, options.size)
    const earlier = records && (await absentIfMissing(open(path, 'r+')))
    const file = earlier ?? (await open(path, 'w+'))
    try {
      const hash = new PrefixHash(file, options.algorithm)
      const present = earlier && records ? await hash.recover(records) : new Ranges()
      const journal = earlier
        ? await PartialJournal.resume(journalPath)
        : await PartialJournal.create(journalPath, options.size)
      return new FilePartial(path, options, { file, journal, hash, present }, hooks)
    } catch (error) {
      await file.close()
      if (!earlier) await rm(path, { force: true })
      throw error
    }
  }

  get present(): ReadonlyRanges {
    return this.#present
  }

  async write(position: number, bytes: Uint8Array): Promise<void> {
    for (;;) {
      if (this.#failure) throw this.#failure
      const gap = this.#present.firstGap(position + bytes.length, position)
      if (!gap) return
      // Two writers of one place at a time could leave other bytes in the file than in the hash.
      const earlier = [...this.#writing].find(({ start, end }) => start < gap.end && end > gap.start)
      if (earlier) await earlier.done
      else await this.#writeGap(gap, bytes.subarray(gap.start - position, gap.end - position))
    }
  }

  reader(): BlobReader | undefined {
    if (this.size === undefined || this.#ended) return undefined
    const file = this.#file.retain()
    const isVerified = (): boolean => this.#isVerified
    let watched: AbortSignal | undefined
    /** One listener a signal, not one a read: a hundred readers that wait for each chunk are a lot of reads. */
    const watch = (signal: AbortSignal | undefined): void => {
      if (signal === undefined || signal === watched) return
      watched = signal
      signal.addEventListener('abort', () => this.#wakeReaders(), { once: true })
    }
    return {
      size: this.size,
      get isVerified() {
        return isVerified()
      },
      verified: (options) => abortable(this.#verified.promise, options?.signal),
      read: (buffer, position, options) => {
        watch(options?.signal)
        return this.#read(buffer, position, options?.signal)
      },
      [Symbol.asyncDispose]: () => file.release(),
    }
  }

  async seal(expected: Digest): Promise<void> {
    await this.#hash.settled()
    const end = this.size ?? this.#present.presentUntil(0)
    if (this.#hash.hashedUntil !== end || this.#present.total !== end) {
      return this.#reject(
        new RegistryError('SIZE_INVALID', `${this.#present.total} of ${end} bytes are here`),
      )
    }
    const actual = this.#hash.finish()
    if (actual !== expected) {
      return this.#reject(
        new RegistryError('DIGEST_INVALID', `expected ${expected}, the bytes are ${actual}`),
      )
    }
    // The bytes are right, so readers may finish now; a slow disk is not their business.
    this.#isVerified = true
    this.#verified.resolve()
    try {
      await this.#syncing
      if (this.#failure) throw this.#failure
      await this.#file.handle.datasync()
      await this.#hooks.publish(this.#path, expected)
    } catch (error) {
      return this.#reject(new Error(`${expected} could not be stored`, { cause: error }))
    }
    await this.#end([journalPathOf(this.#path)])
  }

  async suspend(reason: Error): Promise<void> {
    if (this.#ended) return
    this.#fail(reason)
    try {
      await this.#journal.flush()
    } finally {
      await this.#end()
    }
  }

  async discard(reason: Error): Promise<void> {
    if (this.#ended) return
    this.#fail(reason)
    await this.#end([journalPathOf(this.#path), this.#path])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.suspend(new Error(`partial ${this.id} was closed before it was whole`))
  }

  async #writeGap({ start, end }: ByteInterval, bytes: Uint8Array): Promise<void> {
    const done = deferred<void>()
    const writing = { start, end, done: done.promise }
    this.#writing.add(writing)
    try {
      await this.#writeNew(start, bytes)
    } finally {
      this.#writing.delete(writing)
      done.resolve()
    }
  }

  async #writeNew(position: number, bytes: Uint8Array): Promise<void> {
    for (let written = 0; written < bytes.length; ) {
      const rest = bytes.subarray(written)
      written += (await this.#file.handle.write(rest, 0, rest.length, position + written)).bytesWritten
    }
    this.#present.add(position, position + bytes.length)
    this.#recent.add(position, bytes)
    this.#hash.advance(position, bytes, this.#present)
    this.#announce(bytes.length)
    this.#syncIfDue(bytes.length)
    await this.#journal.note(position, bytes)
  }

  async #read(buffer: Uint8Array, position: number, signal?: AbortSignal): Promise<number> {
    const size = this.size ?? 0
    if (position >= size || buffer.length === 0) return 0
    for (;;) {
      signal?.throwIfAborted()
      const available = Math.min(this.#present.presentUntil(position), size) - position
      if (available > 0) {
        const wanted = buffer.subarray(0, Math.min(buffer.length, available))
        const copied = this.#recent.read(wanted, position)
        if (copied > 0) return copied
        const { bytesRead } = await this.#file.handle.read(wanted, 0, wanted.length, position)
        if (bytesRead === 0) throw new Error(`partial ${this.id} became shorter while it was read`)
        return bytesRead
      }
      if (this.#failure) throw this.#failure
      await this.#arrival.promise
    }
  }

  /** A hundred readers that wake for each packet are more work than the packets; some milliseconds bundle them. */
  #announce(written: number): void {
    this.#unannounced += written
    const isWhole = this.size !== undefined && this.#present.firstGap(this.size) === undefined
    if (isWhole || this.#unannounced >= announceAfter.bytes) this.#wakeReaders()
    else this.#announcing ??= setTimeout(() => this.#wakeReaders(), announceAfter.milliseconds)
  }

  #wakeReaders(): void {
    clearTimeout(this.#announcing)
    this.#announcing = undefined
    this.#unannounced = 0
    const waiting = this.#arrival
    this.#arrival = deferred()
    waiting.resolve()
  }

  #syncIfDue(written: number): void {
    this.#unsyncedBytes += written
    const now = performance.now()
    const isDue = this.#unsyncedBytes >= syncAfter.bytes || now - this.#syncedAt >= syncAfter.milliseconds
    if (this.#syncing || !isDue) return
    this.#unsyncedBytes = 0
    this.#syncedAt = now
    this.#syncing = this.#file.handle
      .datasync()
      // A failed fsync means that bytes are lost; a second one would report success all the same.
      .catch((error: unknown) => this.#fail(new Error('syncing the partial failed', { cause: error })))
      .finally(() => {
        this.#syncing = undefined
      })
  }

  async #reject(error: Error): Promise<never> {
    await this.discard(error)
    throw error
  }

  #fail(reason: Error): void {
    this.#failure ??= reason
    this.#verified.reject(reason)
    this.#wakeReaders()
  }

  /** Closes it and removes `files`; its name is free for another one after that, not before. */
  async #end(files: readonly string[] = []): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    this.#recent.clear()
    try {
      await Promise.allSettled([this.#hash.settled(), this.#syncing])
      await this.#journal.close()
      await this.#file.release()
      for (const file of files) await rm(file, { force: true })
    } finally {
      this.#hooks.onEnd()
    }
  }
}

/** Where the journal of the partial at `path` lies. */
function journalPathOf(path: string): string {
  return `${path}.journal`
}
