/** For whose bytes: what is mirrored has limits, what is pushed has the disk. */
export type Purpose = 'fill' | 'push'

/** Bytes and files that there is too little room for; not above 0: there is enough. */
export interface Lack {
  readonly bytes: number
  readonly files: number
}

/** More than what is counted already. */
export interface Need extends Lack {
  readonly purpose: Purpose
}

/** Bytes that are taken at a time. */
interface Steps {
  /** Made free before the first byte of what has a known size. */
  readonly first: number
  /** Taken ahead where they are free. */
  readonly ahead: number
  /** Made free ahead where they are not. */
  readonly freed: number
}

/** What the space does for a reservation. */
export interface ReservationHooks {
  readonly steps: Steps
  /** Bytes of it that are on the disk while it is written to. */
  readonly present: () => number
  /** Bytes that were on the disk before. */
  readonly resting: () => number
  /** Resolves when nobody is removing what lies there: from then on nobody begins to. */
  readonly ready: () => Promise<void>
  /** Whether there may once be room for so many bytes in all. */
  readonly admits: (reservation: Reservation, bytes: number) => Promise<boolean>
  /** Grants bytes up to `end` where they are free. */
  readonly tryGrant: (reservation: Reservation, end: number) => Promise<boolean>
  /** Makes bytes up to `end` free, and grants them. */
  readonly grant: (reservation: Reservation, end: number, signal?: AbortSignal) => Promise<boolean>
  /** Frees so much in any case. */
  readonly free: (reservation: Reservation, bytes: number, signal?: AbortSignal) => Promise<boolean>
  /** There is no room for so many bytes in all. */
  readonly onRefused: (reservation: Reservation, bytes: number) => void
  readonly onDispose: (reservation: Reservation) => void
}

/**
 * Room for one blob that comes in. All of it is promised before its first byte, and nothing is evicted for that: a size
 * may be a claim that nobody keeps. Room is made for what is about to be written, a step at a time. Dispose when the bytes
 * are stored or gone.
 */
export class Reservation implements Disposable {
  readonly purpose: Purpose
  /** The names of what its bytes may lie in. */
  readonly partials: readonly string[]
  readonly #hooks: ReservationHooks
  #promised = 0
  #granted = 0
  #isWritten = false

  constructor(purpose: Purpose, partials: readonly string[], hooks: ReservationHooks) {
    this.purpose = purpose
    this.partials = partials
    this.#hooks = hooks
  }

  /** Bytes of it that the disk holds. */
  get onDisk(): number {
    return this.#isWritten ? this.#hooks.present() : Math.max(this.#hooks.present(), this.#hooks.resting())
  }

  /** Bytes that it has, written or not. */
  get counted(): number {
    return Math.max(this.#granted, this.onDisk)
  }

  /** Bytes that it will have. */
  get promised(): number {
    return Math.max(this.#promised, this.counted)
  }

  /** Bytes that it may write without another question. */
  get missing(): number {
    return Math.max(0, this.#granted - this.onDisk)
  }

  /** Files that are not made yet: bytes, and a journal. */
  get missingFiles(): number {
    return this.#granted > 0 && this.onDisk === 0 ? filesOf(this.purpose) : 0
  }

  /**
   * Reserves so many bytes in all, what is here among them, in place of what was reserved; undefined: nobody knows how many,
   * they are taken as they come. Waits for the room of the first step. False: there is no room, and nothing is reserved.
   * Throws the reason of `signal`.
   */
  async reserve(bytes: number | undefined, signal?: AbortSignal): Promise<boolean> {
    await this.#hooks.ready()
    const present = this.onDisk
    const first = bytes === undefined ? present : Math.min(bytes, present + this.#hooks.steps.first)
    if (await this.#hooks.admits(this, bytes ?? first)) {
      this.#promised = bytes ?? 0
      this.#granted = Math.min(this.#granted, Math.max(this.#promised, present))
      if (first <= this.#granted || (await this.#hooks.grant(this, first, signal))) return true
    }
    this.giveBack()
    this.#hooks.onRefused(this, bytes ?? first)
    return false
  }

  /** Whether bytes up to `end` may be written at once. */
  has(end: number): boolean {
    this.#isWritten = true
    return end <= this.#granted
  }

  /**
   * Makes room for bytes up to `end`, and some more. Waits for what is evicted for that. False: there is none. Throws the
   * reason of `signal`.
   */
  async take(end: number, signal?: AbortSignal): Promise<boolean> {
    if (this.has(end)) return true
    const { steps, tryGrant, grant } = this.#hooks
    const wanted = (step: number) =>
      Math.max(end, Math.min(this.#promised || Number.POSITIVE_INFINITY, end + step))
    // What only is ahead is no reason to evict much, and none to refuse what is at hand.
    if (await tryGrant(this, wanted(steps.ahead))) return true
    if ((await grant(this, wanted(steps.freed), signal)) || (await grant(this, end, signal))) return true
    this.#hooks.onRefused(this, end)
    return false
  }

  /** The disk had no room for so many bytes after all: whether they were made free. Throws the reason of `signal`. */
  afterFull(bytes: number, signal?: AbortSignal): Promise<boolean> {
    return this.#hooks.free(this, bytes, signal)
  }

  /** They are not written to the disk any more. */
  giveBack(): void {
    this.#promised = 0
    this.#granted = 0
  }

  /** What it needs beside what it has, to have bytes up to `end`. */
  needUntil(end: number): Need {
    const files = this.onDisk === 0 && this.#granted === 0 ? filesOf(this.purpose) : 0
    return { purpose: this.purpose, bytes: Math.max(0, end - this.counted), files }
  }

  granted(end: number): void {
    this.#granted = Math.max(this.#granted, end)
  }

  [Symbol.dispose](): void {
    this.giveBack()
    this.#hooks.onDispose(this)
  }
}

function filesOf(purpose: Purpose): number {
  return purpose === 'fill' ? 2 : 1
}
