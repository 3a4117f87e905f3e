import { Changes } from '../flow/changes.ts'
import type { LentBytes } from '../flow/lent-bytes.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { Partial, PartialView } from '../storage/partial.ts'
import type { ByteInterval } from '../storage/ranges.ts'
import type { Want } from './fetch-plan.ts'
import { type GrowingBytes, GrowingReader } from './growing-reader.ts'
import { RecentBytes } from './recent-bytes.ts'

/** Readers that follow are woken for this much, or after this time. */
const announceAfter = { bytes: 256 * 1024, milliseconds: 5 }
const recentBytes = 2 * 1024 * 1024
/** Milliseconds for which a client that takes nothing may hold up others who share a window with it. */
const laggardMs = 10_000
/** So many times as long for one that takes something, but nothing of the window: containerd waits five minutes. */
const patience = 12

/** A partial in memory, whose readers make room in it. */
export interface Window extends Partial {
  /** Resolves when half of it is free, or it has ended. */
  hasRoom(): Promise<void>
}

export interface ReadingOptions {
  readonly onClose?: () => void
  readonly ranges?: readonly ByteInterval[] | undefined
}

/**
 * Readers of bytes that still arrive, over any partial, and before there is one. It is told what comes and how it
 * ends; who follows is told the same, by bytes and never by a wrong end.
 */
export class Growing {
  readonly #changes = new Changes()
  readonly #readers = new Set<GrowingReader>()
  readonly #bytes = this.#toReaders()
  readonly #laggardMs: number
  readonly #isDoubtful: (upstream: string) => boolean
  readonly #onMoved: () => void
  #recent: RecentBytes | undefined
  /** What is being written to the disk. */
  readonly #arriving = new Set<readonly ByteInterval[]>()
  #partial: Partial | undefined
  #window: Window | undefined
  /** Since when a window has had no room. */
  #fullSince: number | undefined
  #verifiedSize: number | undefined
  #isAllSynced = false
  #failure: Error | undefined
  #unannounced = 0
  #announcing: NodeJS.Timeout | undefined

  /** `laggardMs`: see there. `isDoubtful`: see `GrowingBytes`; `onMoved`: somebody wants bytes elsewhere than before. */
  constructor(
    options: { laggardMs?: number; isDoubtful?: (upstream: string) => boolean; onMoved?: () => void } = {},
  ) {
    this.#isDoubtful = options.isDoubtful ?? (() => false)
    this.#laggardMs = options.laggardMs ?? laggardMs
    this.#onMoved = options.onMoved ?? (() => {})
  }

  /** What those are going to read who read it. */
  get wants(): readonly Want[] {
    return [...this.#readers].flatMap(({ wants }) => wants)
  }

  /** Positions where readers wait for bytes. */
  get wanted(): readonly number[] {
    return [...this.#readers].filter(({ isWaiting }) => isWaiting).map(({ position }) => position)
  }

  /** Whether a reader that comes now still gets the first byte. */
  get isWhole(): boolean {
    return (this.#partial?.keptFrom ?? 0) === 0
  }

  /** Milliseconds for which nothing can be written since nobody takes what is here. */
  get fullMs(): number {
    return this.#fullSince === undefined ? 0 : performance.now() - this.#fullSince
  }

  /**
   * From now on readers read `partial`, and `write` writes to it, also those who have read another one before. `window`: the
   * same, where it is one in memory. What is in memory of the one before stays for those who have not had it: it is right,
   * whatever the disk has lost.
   */
  attach(partial: Partial, { window }: { window: Window | undefined }): void {
    this.#partial = partial
    this.#window = window
    if (!window) {
      this.#forget()
      this.#recent = new RecentBytes(recentBytes)
    }
    for (const reader of this.#readers) reader.moveTo(partial)
    this.#announce()
  }

  /** Nothing comes for a while: what is on the disk needs no memory. Resolves when a window has room again. */
  async pause(): Promise<void> {
    const window = this.#window
    if (window) await this.#whileFull(() => window.hasRoom())
    else this.#recent?.clear()
  }

  /** Writes to the partial, and tells those who follow. Throws what the partial throws. */
  async write(position: number, borrowed: LentBytes): Promise<void> {
    const partial = this.#partial
    if (!partial) throw new Error('there is nothing to write to yet')
    using lent = borrowed.share()
    // A window is in memory already.
    if (this.#window) await this.#whileFull(() => partial.write(position, lent))
    else await this.#writeToDisk(partial, position, lent)
    this.#unannounced += lent.length
    // A hundred readers that wake for each packet are more work than the packets; some milliseconds bundle them.
    if (this.#unannounced >= announceAfter.bytes) this.#announce()
    else this.#announcing ??= setTimeout(() => this.#announce(), announceAfter.milliseconds)
  }

  /** The bytes are right, and this many. */
  verified(size: number): void {
    this.#verifiedSize = size
    this.#announce()
  }

  /** All bytes survive the power: what was read from the disk is what was written. */
  synced(): void {
    this.#isAllSynced = true
    this.#forget()
    this.#announce()
  }

  /** Nothing more will come: who waits rejects with `reason`, once it has what is here. */
  fail(reason: Error): void {
    this.#failure ??= reason
    if (!this.#window) this.#forget()
    this.#announce()
  }

  /**
   * A reader of `size` bytes, to be closed by the caller. Where the size is only a claim, of `claimant`, and turns out
   * wrong, this reader fails and no other one does. `onClose` is called when it is closed; `ranges`: what it is going to read,
   * all unless told. Undefined after the partial has ended.
   */
  reader(
    size: number,
    claimant: string,
    { onClose = () => {}, ranges }: ReadingOptions = {},
  ): BlobReader | undefined {
    let view: PartialView | undefined
    try {
      view = this.#partial?.view()
    } catch {
      return undefined
    }
    const reader = new GrowingReader({ size, claimant, bytes: this.#bytes, view, ranges, onClose })
    this.#readers.add(reader)
    return reader
  }

  async #writeToDisk(partial: Partial, position: number, lent: LentBytes): Promise<void> {
    const recent = this.#recent
    // What is here already stays, whatever is sent over it: it must not be read from memory either.
    const fresh = partial.present.gaps(position, position + lent.length)
    this.#arriving.add(fresh)
    try {
      await partial.write(position, lent)
    } finally {
      this.#arriving.delete(fresh)
      // Where it has ended meanwhile, nobody would let go of them any more. A disk that fails has taken some of them, or none.
      for (const { start, end } of recent === this.#recent ? fresh : []) {
        if (partial.present.presentUntil(start) < end) continue
        using part = lent.share(start - position, end - position)
        recent?.add(start, part)
      }
    }
  }

  /** What is about to be in memory is not read from the disk, which may lose it and would have to be asked again. */
  #isPresent(position: number): boolean {
    if ((this.#partial?.present.presentUntil(position) ?? 0) <= position) return false
    const isIn = ({ start, end }: ByteInterval): boolean => start <= position && position < end
    return this.#window !== undefined || ![...this.#arriving].some((gaps) => gaps.some(isIn))
  }

  async #whileFull(wait: () => Promise<void>): Promise<void> {
    const watch = setInterval(() => this.#leaveLaggards(), this.#laggardMs)
    this.#fullSince = performance.now()
    try {
      await wait()
    } finally {
      clearInterval(watch)
      this.#fullSince = undefined
    }
  }

  /** A window is full: who holds it up while others wait for what comes next has to do without, if it goes on for long. */
  #leaveLaggards(): void {
    const [hindmost = 0] = [...this.#readers].map(({ position }) => position).toSorted((a, b) => a - b)
    for (const reader of this.#readers) {
      const isSlow = !reader.takeHasRead() || this.fullMs > patience * this.#laggardMs
      if (!isSlow || this.wanted.length === 0) continue
      if (reader.isWaiting || reader.position > hindmost || reader.hasFailed) continue
      const message =
        'the disk is full, and this client held up others who waited for the same bytes: let it try again'
      reader.fail(new Error(message))
    }
  }

  #toReaders(): GrowingBytes {
    const growing = this
    return {
      changes: this.#changes,
      get verifiedSize() {
        return growing.#verifiedSize
      },
      get failure() {
        return growing.#failure
      },
      get recent() {
        return growing.#recent
      },
      get isSafe() {
        return growing.#isAllSynced || growing.#window !== undefined
      },
      get isWindow() {
        return growing.#window !== undefined
      },
      isDoubtful: (upstream) => growing.#isDoubtful(upstream),
      isPresent: (position) => this.#isPresent(position),
      left: (reader) => {
        this.#readers.delete(reader)
        this.#letGo()
      },
      moved: () => this.#onMoved(),
    }
  }

  /** From now on nothing is kept in memory. */
  #forget(): void {
    this.#recent?.clear()
    this.#recent = undefined
  }

  /** Where a disk has failed, nobody who comes from now on counts on what is in memory of before. */
  #letGo(): void {
    if (!this.#window || !this.#recent) return
    const [hindmost] = [...this.#readers].map(({ position }) => position).toSorted((a, b) => a - b)
    if (hindmost === undefined) this.#forget()
    else this.#recent.passed(hindmost)
  }

  #announce(): void {
    clearTimeout(this.#announcing)
    this.#announcing = undefined
    this.#unannounced = 0
    this.#letGo()
    this.#changes.announce()
  }
}
