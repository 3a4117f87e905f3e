import { afterSilence } from './after-silence.ts'

export interface SilenceOptions {
  /**
   * Milliseconds without an answer after which a peer is looked for; after twice as many it is taken for silent. At first,
   * and at most: more after each time that it was only late, less again when it is quick.
   */
  readonly lookMs: readonly [first: number, most: number]
  /** Whether something else fills the line, so that answers may be late. */
  readonly isBusy: () => boolean
  /** Asks the peer whether it is there. */
  readonly onLook: () => void
}

const timesOnABusyLine = 3
/** An answer to what was sent on a new connection takes a few of its steps. */
const timesOfAStep = 4
/** Of the time to a look. */
const quickShare = 0.25

/**
 * Notices at once that a peer says nothing to those who ask it, long before anybody would give up: for those who have
 * something to go on with. It decides nothing, and the next answer ends it.
 */
export class Silence {
  readonly #options: SilenceOptions
  readonly #listeners = new Set<() => void>()
  #lookMs: number
  #asked = 0
  #hasLooked = false
  #isSilent = false
  /** Milliseconds of the monotonic clock: of the last answer, or of the first question since. */
  #quietSince = 0
  /** Milliseconds of the longest step on the way to it since then. */
  #stepMs = 0
  #stopTimer: (() => void) | undefined

  constructor(options: SilenceOptions) {
    this.#options = options
    this.#lookMs = options.lookMs[0]
  }

  /** Whether it has been asked, and says nothing. */
  get isSilent(): boolean {
    return this.#isSilent
  }

  /** Calls `listener` when it falls silent, now where it is. Returns what ends that. */
  whenSilent(listener: () => void): () => void {
    this.#listeners.add(listener)
    if (this.#isSilent) listener()
    return () => this.#listeners.delete(listener)
  }

  /** Somebody asks it. Returns what says that the question is over, and whether it was answered in the time that it takes. */
  asked(): (isAnswered: boolean) => void {
    const askedAt = performance.now()
    if (this.#asked === 0 && !this.#isSilent) this.#beginAnew(askedAt)
    this.#asked += 1
    this.#arm(this.#lookMs)
    return (isAnswered) => {
      this.#asked -= 1
      if (this.#asked === 0) this.#disarm()
      if (!isAnswered) return
      const isQuick = performance.now() - askedAt < this.#lookMs * quickShare
      if (isQuick) this.#lookMs = Math.max(this.#lookMs / 2, this.#options.lookMs[0])
      this.answered()
    }
  }

  /** A step on the way to it took so many milliseconds: a connection, a handshake. Whether it answers is another matter. */
  stepped(ms: number): void {
    this.#stepMs = Math.max(this.#stepMs, ms)
  }

  /** It said something. */
  answered(): void {
    const { lookMs } = this.#options
    const now = performance.now()
    if (this.#hasLooked) this.#lookMs = Math.min(this.#lookMs * 2, lookMs[1])
    this.#beginAnew(now)
    if (this.#asked > 0) this.#arm(this.#lookMs)
  }

  /** It turned out that it is not there, and whoever asks is told so by another way. */
  ended(): void {
    ;[this.#lookMs] = this.#options.lookMs
    this.#beginAnew(performance.now())
  }

  [Symbol.dispose](): void {
    this.#disarm()
  }

  #beginAnew(now: number): void {
    this.#quietSince = now
    this.#stepMs = 0
    this.#hasLooked = false
    this.#isSilent = false
  }

  #arm(ms: number): void {
    this.#stopTimer ??= afterSilence(ms, () => {
      this.#stopTimer = undefined
      this.#check()
    })
  }

  #disarm(): void {
    this.#stopTimer?.()
    this.#stopTimer = undefined
  }

  #check(): void {
    const quietMs = performance.now() - this.#quietSince
    const lookMs = this.#lookMs * (this.#options.isBusy() ? timesOnABusyLine : 1)
    const silentMs = Math.max(2 * lookMs, timesOfAStep * this.#stepMs)
    if (quietMs >= lookMs && !this.#hasLooked) {
      this.#hasLooked = true
      this.#options.onLook()
    }
    if (quietMs < silentMs) {
      this.#arm((quietMs < lookMs ? lookMs : silentMs) - quietMs)
      return
    }
    this.#isSilent = true
    for (const listener of this.#listeners) listener()
  }
}
