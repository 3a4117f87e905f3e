import { type FileHandle, open, rm } from 'node:fs/promises'
import { deferred } from '../../flow/deferred.ts'
import type { LentBytes } from '../../flow/lent-bytes.ts'
import type { Digest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/error.ts'
import type { PartialOptions } from '../blob-store.ts'
import { asStorageError, StorageError } from '../error.ts'
import type { Partial, PartialRemains, PartialView, SealedFile } from '../partial.ts'
import { type ByteInterval, Ranges, type ReadonlyRanges } from '../ranges.ts'
import { absentIfMissing } from './file-errors.ts'
import { journalPathOf, PartialJournal } from './partial-journal.ts'
import { PrefixHash } from './prefix-hash.ts'
import type { PrefixThread } from './prefix-thread.ts'
import { sealedFile } from './sealed-file.ts'
import { SharedFile } from './shared-file.ts'
import { SyncPolicy, syncBytes } from './sync-policy.ts'
import { viewOf } from './view-of.ts'

/** What the store does for its partials and writers. */
export interface PartialHooks {
  /** Moves the file at `path`, of `size` bytes, to its place under `digest`, durably. */
  readonly publish: (path: string, digest: Digest, size: number) => Promise<void>
  /** It is no longer open, and its bytes stay under its name, or are gone, or are left there although they should go. */
  readonly onEnd: (end: 'stays' | 'gone' | 'left') => void
}

/** What it does for its partials only. */
export interface FilePartialHooks extends PartialHooks {
  /** Hashes where this thread has no time to; undefined: this one always has. */
  readonly thread?: PrefixThread | undefined
  /** See `bootId`. */
  readonly boot: string | undefined
}

interface Parts {
  readonly file: FileHandle
  readonly journal: PartialJournal
  readonly hash: PrefixHash
  readonly present: Ranges
}

/** A `Partial` in a file, with its journal beside it. Opened by `FilePartials`. */
export class FilePartial implements Partial {
  readonly id: string
  readonly keptFrom = 0
  readonly #path: string
  readonly #file: SharedFile
  readonly #journal: PartialJournal
  readonly #hash: PrefixHash
  readonly #present: Ranges
  readonly #hooks: PartialHooks
  readonly #sync: SyncPolicy
  /** Writes under way; no two of them overlap. */
  readonly #writing = new Set<ByteInterval & { readonly done: Promise<void> }>()
  #isSealing = false
  #failure: Error | undefined
  /** A sync has failed, or the seal: what is in the file may be lost, and nobody would be told again. */
  #loss: Error | undefined
  #hasEnded = false
  /** Its hash goes on elsewhere. */
  #isDetached = false

  private constructor(id: string, path: string, parts: Parts, hooks: PartialHooks) {
    this.id = id
    this.#path = path
    this.#file = new SharedFile(parts.file)
    this.#journal = parts.journal
    this.#hash = parts.hash
    this.#present = parts.present
    this.#hooks = hooks
    this.#sync = new SyncPolicy(
      parts.file,
      `partial ${id}`,
      (error) => this.#fail(error),
      () => {
        const present = [...parts.present]
        return () => parts.journal.synced(present)
      },
    )
  }

  /**
   * Opens the partial at `path`: recovers what the journal beside it vouches for, or starts anew. Throws the file
   * system's error.
   */
  static async open(
    path: string,
    { id, algorithm }: PartialOptions,
    hooks: FilePartialHooks,
  ): Promise<FilePartial> {
    const journalPath = journalPathOf(path)
    const { boot } = hooks
    const records = await PartialJournal.read(journalPath, boot)
    const earlier = records && (await absentIfMissing(open(path, 'r+')))
    const file = earlier ?? (await open(path, 'w+'))
    try {
      const hash = new PrefixHash(file, algorithm, hooks.thread)
      const present = earlier && records ? await hash.recover(records) : new Ranges()
      const lost = records?.flatMap(({ start, length }) => present.gaps(start, start + length))
      const journal = await (earlier
        ? PartialJournal.resume(journalPath, boot, lost)
        : PartialJournal.create(journalPath, boot))
      return new FilePartial(id, path, { file, journal, hash, present }, hooks)
    } catch (error) {
      await file.close()
      if (!earlier) await rm(path, { force: true })
      throw error
    }
  }

  get present(): ReadonlyRanges {
    return this.#present
  }

  get hashedUntil(): number {
    return this.#hash.hashedUntil
  }

  async write(position: number, borrowed: LentBytes): Promise<void> {
    using lent = borrowed.share()
    const { bytes } = lent
    for (;;) {
      if (this.#failure) throw this.#failure
      const gap = this.#present.firstGap(position + bytes.length, position)
      if (!gap) return
      if (this.#isSealing) throw new Error(`partial ${this.id} is being sealed`)
      // 1. one writes its bytes into the file; 2. another writes other bytes into the same place; 3. the first
      // one's bytes are hashed: the file would have other bytes than the hash.
      const earlier = [...this.#writing].find(({ start, end }) => start < gap.end && end > gap.start)
      if (earlier) await earlier.done
      else await this.#writeGap(gap, bytes.subarray(gap.start - position, gap.end - position))
    }
  }

  view(): PartialView {
    if (this.#hasEnded) throw new Error(`partial ${this.id} has ended`)
    return viewOf(this.id, this.#file.retain(), this.#present)
  }

  async verify(expected: Digest): Promise<void> {
    const settled = this.#hash.settled()
    await asStorageError(`partial ${this.id} could not be hashed`, settled)
    const end = this.#hash.hashedUntil
    if (this.#present.total !== end) {
      throw new RegistryError('SIZE_INVALID', `bytes are missing from ${end} on`)
    }
    const actual = await asStorageError(`partial ${this.id} could not be hashed`, this.#hash.digest())
    if (actual !== expected) {
      await this.#sync.settled()
      if (this.#loss && this.#hash.hasReadBack) throw this.#loss
      throw new RegistryError('DIGEST_INVALID', `expected ${expected}, the bytes are ${actual}`)
    }
  }

  async seal(expected: Digest): Promise<SealedFile> {
    if (this.#failure) throw this.#failure
    if (this.#isSealing) throw new Error(`partial ${this.id} is being sealed`)
    // 1. somebody writes behind the end; 2. what is here is verified; 3. those bytes arrive in the file; 4. it is
    // published longer than it was verified. So nothing new begins from here on, and what has begun is waited for.
    this.#isSealing = true
    try {
      await this.#settled()
      await this.verify(expected)
    } catch (error) {
      this.#isSealing = false
      throw error
    }
    const sealed = await this.#publish(expected).catch((error: unknown) => {
      const told = StorageError.from(error, `${expected} could not be stored`)
      if (isPassing(told)) this.#isSealing = false
      else this.#fail(told instanceof Error ? told : new Error(String(told)))
      throw told
    })
    // It is stored, whatever stays beside it.
    await this.#end(new Error(`partial ${this.id} is sealed`), [journalPathOf(this.#path)]).catch(() => {})
    return sealed
  }

  async suspend(reason: Error): Promise<void> {
    this.#failure ??= reason
    if (this.#hasEnded) return
    await this.#settled()
    await this.#sync.settled()
    if (this.#loss) return this.discard(reason)
    // What cannot be noted any more is fetched again.
    await this.#journal.flush().catch(() => {})
    await this.#end(reason)
  }

  async discard(reason: Error): Promise<void> {
    await this.#end(reason, [journalPathOf(this.#path), this.#path])
  }

  async detach(reason: Error): Promise<PartialRemains> {
    if (this.#hasEnded) throw new Error(`partial ${this.id} has ended`)
    const file = this.#file.retain()
    const hash = this.#hash
    this.#isDetached = true
    // What cannot be removed from a disk that takes nothing stays there.
    await this.discard(reason).catch(() => {})
    return {
      present: this.#present,
      hashedUntil: hash.hashedUntil,
      isHashDoubtful: this.#loss !== undefined && hash.hasReadBack,
      hash: () => hash.copy(),
      view: () => viewOf(this.id, file.retain(), this.#present),
      [Symbol.asyncDispose]: () => {
        hash[Symbol.dispose]()
        return file.release()
      },
    }
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
    } catch (error) {
      throw StorageError.from(error, `partial ${this.id} could not be written`)
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
    this.#hash.advance(position, bytes, this.#present)
    this.#sync.wrote(bytes.length)
    await this.#journal.note(position, bytes.length)
    await this.#hash.nearlySettled()
  }

  /** Resolves when the writes that are under way now have ended, however. */
  async #settled(): Promise<void> {
    await Promise.all([...this.#writing].map(({ done }) => done))
  }

  async #publish(digest: Digest): Promise<SealedFile> {
    const { handle } = this.#file
    const { total } = this.#present
    await this.#sync.settled()
    if (this.#failure) throw this.#failure
    // A write that failed or was killed half-way may have left bytes behind the end.
    if ((await handle.stat()).size > total) await handle.truncate(total)
    await syncBytes(handle, `partial ${this.id}`)
    const sealed = sealedFile(await handle.stat({ bigint: true }))
    if (sealed.size !== total) throw new StorageError('BROKEN', `partial ${this.id} became shorter`)
    await this.#hooks.publish(this.#path, digest, total)
    return sealed
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#loss ??= error
  }

  /** Closes it and removes `files`; its name is free for another one after that, not before. */
  async #end(reason: Error, files: readonly string[] = []): Promise<void> {
    this.#failure ??= reason
    if (this.#hasEnded) return
    this.#hasEnded = true
    let end: 'stays' | 'gone' | 'left' = files.length === 0 ? 'stays' : 'left'
    try {
      // A write that goes on may still need the file, and would note what a later one must not find.
      await this.#settled()
      await Promise.allSettled([this.#hash.settled(), this.#sync.settled()])
      if (!this.#isDetached) this.#hash[Symbol.dispose]()
      const closed = await Promise.allSettled([this.#journal.close(), this.#file.release()])
      for (const file of files) await rm(file, { force: true })
      if (end === 'left') end = 'gone'
      for (const one of closed) if (one.status === 'rejected') throw one.reason
    } catch (error) {
      throw StorageError.from(error, `partial ${this.id} could not be closed`)
    } finally {
      this.#hooks.onEnd(end)
    }
  }
}

/** Descriptors were short: nothing has happened to the file. */
function isPassing(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'BUSY'
}
