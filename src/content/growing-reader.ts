import { abortable } from '../flow/abortable.ts'
import { bestEffort } from '../flow/best-effort.ts'
import type { Changes } from '../flow/changes.ts'
import type { LentBytes } from '../flow/lent-bytes.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { Partial, PartialView } from '../storage/partial.ts'
import type { ByteInterval } from '../storage/ranges.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { Want } from './fetch-plan.ts'
import type { RecentBytes } from './recent-bytes.ts'

/** What its readers ask of bytes that still arrive. */
export interface GrowingBytes {
  /** Told of all that comes, and of every end. */
  readonly changes: Changes
  /** Of the blob, once it is verified. */
  readonly verifiedSize: number | undefined
  /** Why nothing more comes. */
  readonly failure: Error | undefined
  /** What is held in memory of what a disk has; undefined where nothing is on a disk. */
  readonly recent: RecentBytes | undefined
  /** Whether no disk can lose any more what was read from it. */
  readonly isSafe: boolean
  /** Whether they are in memory only. */
  readonly isWindow: boolean
  /** Whether some of them came from another upstream, or by a way that was wrong about them before. */
  isDoubtful(upstream: string): boolean
  isPresent(position: number): boolean
  /** Nobody reads by this one any more. */
  left(reader: GrowingReader): void
  /** Somebody wants bytes elsewhere than before. */
  moved(): void
}

/** Parts of an answer of which it is known that they will be read. */
const partsAhead = 16

export interface GrowingReaderOptions {
  readonly size: number
  /** The upstream by whose word it has this size. */
  readonly claimant: string
  readonly bytes: GrowingBytes
  /** Undefined before there is anything to read. */
  readonly view: PartialView | undefined
  /** The parts that it is going to read; undefined: all from where it begins. */
  readonly ranges?: readonly ByteInterval[] | undefined
  readonly onClose: () => void
}

/** One who follows bytes that still arrive. */
export class GrowingReader implements BlobReader {
  readonly size: number
  readonly #claimant: string
  readonly #bytes: GrowingBytes
  readonly #onClose: () => void
  #view: PartialView | undefined
  readonly #ranges: readonly ByteInterval[] | undefined
  #position = 0
  /** Which of them it reads. */
  #part = 0
  /** Where it goes on if it leaves nothing out. */
  #next = 0
  /** Whether its answer ends with the blob, which has to be verified. */
  #needsAll = false
  #isWaiting = false
  /** Whether it has read what only a disk had, that may lose bytes until they are synced. */
  #hasReadDisk = false
  #hasRead = true
  #hasBegun = false
  #failure: Error | undefined
  #watched: AbortSignal | undefined
  #isClosed = false

  constructor({ size, claimant, bytes, view, ranges, onClose }: GrowingReaderOptions) {
    this.size = size
    this.#claimant = claimant
    this.#bytes = bytes
    this.#view = view
    this.#ranges = ranges
    this.#next = ranges?.[0]?.start ?? 0
    this.#onClose = onClose
  }

  /** Where it reads, or will. */
  get position(): number {
    return this.#position
  }

  /** What it is going to read. */
  get wants(): readonly Want[] {
    if (this.#failure) return []
    const { size } = this
    // It may have been told a wrong size.
    if (this.#needsAll) return [{ start: 0, end: Number.POSITIVE_INFINITY, isWaiting: false }]
    const start = this.#position
    const isWaiting = this.#isWaiting
    if (!this.#ranges) return [{ start, end: size, isWaiting }]
    // Those before were read, as the parts of an answer come in their order; of many the next ones are enough to know.
    const [current, ...next] = this.#ranges.slice(this.#part, this.#part + partsAhead)
    const parts = next.map((range) => ({ ...range, isWaiting: false }))
    if (!this.#hasBegun) return current ? [{ ...current, isWaiting: false }, ...parts] : parts
    // They may have been told by a size that was wrong.
    const isIn = current && current.start <= start && start < current.end
    return [{ start, end: isIn ? current.end : size, isWaiting }, ...parts]
  }

  get isWaiting(): boolean {
    return this.#isWaiting
  }

  get hasFailed(): boolean {
    return this.#failure !== undefined
  }

  get isVerified(): boolean {
    return this.#bytes.verifiedSize === this.size && this.#isSafe && !this.#view?.recheck
  }

  get givesParts(): boolean {
    return !this.#bytes.isDoubtful(this.#claimant) && !this.#view?.recheck
  }

  /** Whether it has read anything since this was last asked. */
  takeHasRead(): boolean {
    const hasRead = this.#hasRead
    this.#hasRead = false
    return hasRead
  }

  /** From now on it reads another partial. */
  moveTo(partial: Pick<Partial, 'view'>): void {
    if (this.#failure) return
    void closeView(this.#view)
    this.#view = partial.view(this.#position, this.#hasReadDisk)
  }

  /** It alone cannot go on. */
  fail(reason: Error): void {
    this.#failure = reason
    void closeView(this.#view)
    this.#view = undefined
  }

  async verified(options?: { signal?: AbortSignal }): Promise<void> {
    const { changes } = this.#bytes
    this.#needsAll = true
    this.#bytes.moved()
    if (this.#hasBegun) {
      // It has what it asked for, which may be a part: a window must not keep for it what lies behind that.
      this.#position = Number.POSITIVE_INFINITY
      this.#view?.passed?.()
    }
    await changes.until(() => {
      if (this.#hasSize() && this.#isSafe) return true
      if (this.#bytes.failure) throw this.#bytes.failure
      return undefined
    }, options?.signal)
    for (let view = this.#view; view?.recheck; view = this.#view) {
      await abortable(view.recheck(), options?.signal)
    }
  }

  async read(buffer: Uint8Array, position: number, options?: { signal?: AbortSignal }): Promise<number> {
    if (position >= this.size || buffer.length === 0) return 0
    const wanted = buffer.subarray(0, Math.min(buffer.length, this.size - position))
    this.#begin(position, options?.signal)
    for (;;) {
      this.#check(options?.signal)
      const { recent } = this.#bytes
      const copied = recent?.read(wanted, position) ?? 0
      if (copied > 0) return this.#passed(copied)
      // A window has to hear where its readers are, also of those who wait.
      const { isWindow } = this.#bytes
      const isAsked = this.#view !== undefined && (!recent || isWindow || this.#bytes.isPresent(position))
      // Before it is read: until it has been, the disk may fail, and another one take its place.
      this.#hasReadDisk ||= isAsked && !isWindow
      const count = isAsked ? await this.#view?.read(wanted, position) : 0
      if (count) return this.#passed(count)
      // While the view was asked it may have come, or the signal: nobody tells of these again.
      if (this.#bytes.isPresent(position) || options?.signal?.aborted) continue
      await this.#change()
    }
  }

  async lend(position: number, options?: { signal?: AbortSignal }): Promise<LentBytes | undefined> {
    if (position >= this.size) return undefined
    this.#begin(position, options?.signal)
    for (;;) {
      this.#check(options?.signal)
      const held = this.#bytes.recent?.lend(position) ?? this.#view?.lend?.(position)
      if (held) return this.#own(held, position)
      if (this.#bytes.isPresent(position)) return undefined
      await this.#change()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#bytes.left(this)
    await closeView(this.#view)
    this.#onClose()
  }

  #begin(position: number, signal: AbortSignal | undefined): void {
    const isMoved = position !== this.#next
    this.#position = position
    this.#next = position
    this.#hasBegun = true
    if (isMoved) this.#bytes.moved()
    const isIn = (range: ByteInterval | undefined) =>
      range !== undefined && range.start <= position && position < range.end
    if (this.#ranges && !isIn(this.#ranges[this.#part])) {
      const part = isIn(this.#ranges[this.#part + 1]) ? this.#part + 1 : this.#ranges.findIndex(isIn)
      this.#part = Math.max(part, 0)
      // They were told by a size that was wrong.
      if (part < 0) this.#bytes.moved()
    }
    this.#hasRead = true
    // One listener a signal, not one a read: a hundred readers that wait for each chunk are a lot of reads.
    if (signal !== this.#watched) {
      signal?.addEventListener('abort', () => this.#bytes.changes.announce(), { once: true })
    }
    this.#watched = signal
  }

  /** Throws where it cannot read any more. */
  #check(signal: AbortSignal | undefined): void {
    signal?.throwIfAborted()
    if (this.#failure) throw this.#failure
  }

  /** Resolves when something has changed. Throws where nothing will come. */
  async #change(): Promise<void> {
    this.#hasSize()
    if (this.#bytes.failure) throw this.#bytes.failure
    this.#isWaiting = true
    await this.#bytes.changes.next()
    this.#isWaiting = false
  }

  /** No more than this reader may have. */
  #own(held: LentBytes, position: number): LentBytes {
    this.#passed(Math.min(held.length, this.size - position))
    if (held.length <= this.size - position) return held
    using more = held
    return more.share(0, this.size - position)
  }

  #passed(bytes: number): number {
    this.#next = this.#position + bytes
    return bytes
  }

  /** Whether the blob is verified. Throws UpstreamError where it has another size than its reader goes by. */
  #hasSize(): boolean {
    const { verifiedSize } = this.#bytes
    if (verifiedSize === undefined) return false
    if (verifiedSize === this.size) return true
    const message = `the blob has ${verifiedSize} bytes, and was said to have ${this.size}`
    throw new UpstreamError('INVALID_RESPONSE', this.#claimant, message)
  }

  /** A sync that fails may have lost what was read since. Where the disk has failed, what was read is checked again. */
  get #isSafe(): boolean {
    return !this.#hasReadDisk || this.#bytes.isSafe
  }
}

/** What a disk says to a file that is only closed is nobody's business. */
async function closeView(view: PartialView | undefined): Promise<void> {
  await bestEffort(Promise.resolve(view?.[Symbol.asyncDispose]()), () => {})
}
