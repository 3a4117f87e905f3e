import type { LentBytes } from '../../flow/lent-bytes.ts'
import { createDigestHash, type Digest, type DigestAlgorithm, digestOf } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/error.ts'
import { StorageError } from '../error.ts'
import type { Partial, PartialRemains, PartialView, SealedFile } from '../partial.ts'
import { Ranges, type ReadonlyRanges } from '../ranges.ts'
import { InlineHash } from '../running-hash.ts'

/** What a partial has on the "disk": it is there after the partial has ended, and after a crash. */
export class MemoryFile {
  readonly inode: number
  /** Milliseconds since the epoch. */
  mtime: number
  bytes = Buffer.alloc(0)
  present = new Ranges()
  /** What a killed process would still know of; the rest is in the file, and nobody vouches for it. */
  journalled = new Ranges()
  isSynced = false

  constructor(inode: number, mtime: number) {
    this.inode = inode
    this.mtime = mtime
  }

  /** Writes what is not there yet. */
  write(position: number, bytes: Uint8Array, now: number): void {
    const end = position + bytes.length
    this.#grow(end)
    for (const gap of this.present.gaps(position, end)) {
      this.bytes.set(bytes.subarray(gap.start - position, gap.end - position), gap.start)
      this.present.add(gap.start, gap.end)
    }
    this.mtime = now
    this.isSynced = false
  }

  /** What is present at `position`, at most `length` bytes of it. */
  read(position: number, length: number): Uint8Array {
    return this.bytes.subarray(position, Math.min(this.present.presentUntil(position), position + length))
  }

  sealed(): SealedFile {
    return { size: this.present.total, mtime: this.mtime, inode: this.inode }
  }

  /** A copy as a later process finds it: only `kept` of what was present. */
  remains(kept: Ranges): MemoryFile {
    const file = new MemoryFile(this.inode, this.mtime)
    for (const { start, end } of kept) file.write(start, this.bytes.subarray(start, end), this.mtime)
    file.journalled = copyOf(kept)
    file.isSynced = true
    return file
  }

  #grow(end: number): void {
    if (this.bytes.length >= end) return
    const larger = Buffer.alloc(Math.max(end, 2 * this.bytes.length))
    larger.set(this.bytes)
    this.bytes = larger
  }
}

export function copyOf(ranges: ReadonlyRanges): Ranges {
  const copy = new Ranges()
  for (const { start, end } of ranges) copy.add(start, end)
  return copy
}

/** The ranges of a partial that a later process knows of, each right to the byte. `keeps`: see `Crash`. */
export function remaining(file: MemoryFile, kind: 'killed' | 'power', keeps: () => boolean): Ranges {
  if (file.isSynced) return copyOf(file.present)
  const kept = kind === 'killed' ? copyOf(file.journalled) : new Ranges()
  for (const { start, end } of file.present) if (keeps()) kept.add(start, end)
  return kept
}

/** What the store does for its partials and writers. */
export interface MemoryHooks {
  /** Before a step that a disk can fail at, or that a crash can come before. */
  readonly step: (name: string) => Promise<void>
  readonly now: () => number
  /** Makes room for so many bytes more, or throws StorageError FULL. */
  readonly take: (bytes: number) => void
  readonly publish: (digest: Digest) => Promise<void>
  readonly remove: () => void
  readonly onEnd: () => void
}

/** Bytes after which the notes about them are as safe as the bytes, as in a file's journal. */
const journalAfter = 1024 * 1024

/** A `Partial` in memory. Opened by `MemoryBlobStore`. */
export class MemoryPartial implements Partial {
  readonly id: string
  readonly keptFrom = 0
  readonly #algorithm: DigestAlgorithm
  readonly #file: MemoryFile
  readonly #hooks: MemoryHooks
  #failure: Error | undefined
  #isSealing = false
  #isLost = false
  #hasEnded = false

  constructor(id: string, algorithm: DigestAlgorithm, file: MemoryFile, hooks: MemoryHooks) {
    this.id = id
    this.#algorithm = algorithm
    this.#file = file
    this.#hooks = hooks
  }

  get present(): ReadonlyRanges {
    return this.#file.present
  }

  get hashedUntil(): number {
    return this.#file.present.presentUntil(0)
  }

  async write(position: number, borrowed: LentBytes): Promise<void> {
    using lent = borrowed.share()
    this.#assertWritable()
    await this.#hooks.step('write')
    this.#assertWritable()
    this.#hooks.take(lent.length)
    this.#file.write(position, lent.bytes, this.#hooks.now())
    if (this.#file.present.total - this.#file.journalled.total >= journalAfter) this.#journal()
  }

  view(): PartialView {
    if (this.#hasEnded) throw new Error(`partial ${this.id} has ended`)
    return this.#viewOf(this.#file)
  }

  #viewOf(file: MemoryFile): PartialView {
    return {
      async read(buffer, position) {
        const piece = file.read(position, buffer.length)
        buffer.set(piece)
        return piece.length
      },
      [Symbol.asyncDispose]: async () => {},
    }
  }

  async verify(expected: Digest): Promise<void> {
    const { present, bytes } = this.#file
    const end = this.hashedUntil
    if (present.total !== end) {
      throw new RegistryError('SIZE_INVALID', `bytes are missing from ${end} on`)
    }
    const actual = digestOf(bytes.subarray(0, end), this.#algorithm)
    if (actual !== expected) {
      throw new RegistryError('DIGEST_INVALID', `expected ${expected}, the bytes are ${actual}`)
    }
  }

  async seal(expected: Digest): Promise<SealedFile> {
    this.#assertWritable()
    this.#isSealing = true
    try {
      await this.verify(expected)
    } catch (error) {
      this.#isSealing = false
      throw error
    }
    try {
      await this.#hooks.step('sync')
      this.#journal()
      this.#file.isSynced = true
      await this.#hooks.publish(expected)
    } catch (error) {
      if (error instanceof StorageError && error.code === 'BUSY') {
        this.#isSealing = false
        throw error
      }
      this.#failure ??= error instanceof Error ? error : new Error(String(error))
      this.#isLost = true
      throw error
    }
    this.#end(new Error(`partial ${this.id} is sealed`))
    return this.#file.sealed()
  }

  async suspend(reason: Error): Promise<void> {
    if (this.#isLost) return this.discard(reason)
    if (this.#hasEnded) return
    this.#failure ??= reason
    try {
      await this.#hooks.step('suspend')
      this.#journal()
    } finally {
      this.#end(reason)
    }
  }

  async discard(reason: Error): Promise<void> {
    if (this.#hasEnded) return
    this.#failure ??= reason
    try {
      await this.#hooks.step('discard')
      this.#hooks.remove()
    } finally {
      this.#end(reason)
    }
  }

  async detach(reason: Error): Promise<PartialRemains> {
    if (this.#hasEnded) throw new Error(`partial ${this.id} has ended`)
    const [file, algorithm, hashedUntil] = [this.#file, this.#algorithm, this.hashedUntil]
    await this.discard(reason).catch(() => {})
    return {
      present: file.present,
      hashedUntil,
      isHashDoubtful: false,
      hash: () => new InlineHash(algorithm, createDigestHash(algorithm).update(file.read(0, hashedUntil))),
      view: () => this.#viewOf(file),
      [Symbol.asyncDispose]: async () => {},
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.suspend(new Error(`partial ${this.id} was closed before it was whole`))
  }

  #journal(): void {
    this.#file.journalled = copyOf(this.#file.present)
  }

  #assertWritable(): void {
    if (this.#failure) throw this.#failure
    if (this.#isSealing) throw new Error(`partial ${this.id} is being sealed`)
  }

  #end(reason: Error): void {
    if (this.#hasEnded) return
    this.#failure ??= reason
    this.#hasEnded = true
    this.#hooks.onEnd()
  }
}
