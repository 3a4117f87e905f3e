import { within } from './abortable.ts'
import { type BackoffOptions, backoffMs } from './backoff.ts'

export interface HoldoffOptions {
  /** How long it lasts where the other side does not say. */
  readonly unasked: BackoffOptions
  /** How long it lasts at least where what it says was too short before. */
  readonly again: BackoffOptions
}

/**
 * A time in which the other side is not asked, since it said so. When that is over one question goes first: its answer
 * decides for all others. Times are of `performance.now()`, in milliseconds.
 */
export class Holdoff {
  readonly #options: HoldoffOptions
  /** How often in a row it was asked for. */
  #times = 0
  #begunAt = Number.NEGATIVE_INFINITY
  #until = Number.NEGATIVE_INFINITY
  #isShortened = false
  #trial: PromiseWithResolvers<void> | undefined

  constructor(options: HoldoffOptions) {
    this.#options = options
  }

  /** Whether it was asked for, and no answer since has said that it is over. */
  get isHeld(): boolean {
    return this.#times > 0
  }

  /** Milliseconds until it makes sense to ask; 0 where it does now. */
  get leftMs(): number {
    return this.isHeld ? Math.max(0, this.#until - performance.now()) : 0
  }

  /** Whether one question is under way that decides for all. */
  get isTried(): boolean {
    return this.#trial !== undefined
  }

  /**
   * The other side asks for it, for so many milliseconds, if it says; `askedAt`: when it was asked what it answers so.
   * What was under way when it began says the same once more, and begins none. Returns whether one has begun.
   */
  hold(forMs: number | undefined, askedAt: number): boolean {
    const now = performance.now()
    const { unasked, again } = this.#options
    if (askedAt < this.#begunAt) {
      this.#until = Math.max(this.#until, now + (forMs ?? 0))
      return false
    }
    this.#times += 1
    this.#begunAt = now
    const waitMs =
      forMs === undefined
        ? backoffMs(this.#times, unasked)
        : Math.max(forMs, backoffMs(this.#times - 1, again))
    this.#until = now + waitMs
    this.#endTrial()
    return true
  }

  /** The other side says that it may be over before its time: one question finds out, once until it is over. */
  shorten(askedAt: number): void {
    if (this.#isShortened || !this.isHeld || askedAt < this.#begunAt) return
    this.#isShortened = true
    this.#until = performance.now()
  }

  /** It is over. */
  end(): void {
    this.#times = 0
    this.#isShortened = false
    this.#until = Number.NEGATIVE_INFINITY
    this.#endTrial()
  }

  /** From now on the question of whoever calls this decides. Returns what ends that, and lets the next one decide. */
  try(): () => void {
    const trial = Promise.withResolvers<void>()
    this.#trial = trial
    return () => {
      if (this.#trial === trial) this.#endTrial()
    }
  }

  /** Waits for the question that is under way, for so many milliseconds. Rejects with the reason of the signal. */
  async decided(forMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#trial) await within(this.#trial.promise, forMs, signal)
  }

  #endTrial(): void {
    this.#trial?.resolve()
    this.#trial = undefined
  }
}

/** What a question got that has to pass some of them. */
export type Passage =
  | { readonly isOpen: true; readonly trial: Trial }
  | { readonly isOpen: false; readonly by: Holdoff }

/**
 * Passes all of `holdoffs`, or none: where one of them lasts, or the question that decides for all takes longer than
 * `patienceMs`. Rejects with the reason of the signal.
 */
export async function pass(
  holdoffs: readonly Holdoff[],
  { patienceMs, signal }: { readonly patienceMs: number; readonly signal: AbortSignal | undefined },
): Promise<Passage> {
  const lateAt = performance.now() + patienceMs
  for (;;) {
    const closed = holdoffs.find(({ leftMs }) => leftMs > 0)
    if (closed) return { isOpen: false, by: closed }
    const tried = holdoffs.find(({ isTried }) => isTried)
    if (!tried) break
    const leftMs = lateAt - performance.now()
    if (leftMs <= 0) return { isOpen: false, by: tried }
    await tried.decided(leftMs, signal)
  }
  return { isOpen: true, trial: new Trial(holdoffs.filter(({ isHeld }) => isHeld)) }
}

/** What a question finds out for others. Dispose when it has ended. */
export class Trial implements Disposable {
  readonly #tried: Map<Holdoff, () => void>

  constructor(holdoffs: readonly Holdoff[]) {
    this.#tried = new Map(holdoffs.map((holdoff) => [holdoff, holdoff.try()]))
  }

  /** It was answered: what it has tried is over. Returns whether that is something. */
  worked(): boolean {
    const isNews = this.#tried.size > 0
    for (const holdoff of this.#tried.keys()) holdoff.end()
    this.#tried.clear()
    return isNews
  }

  /** It has decided nothing more: the next question does. */
  [Symbol.dispose](): void {
    for (const giveUp of this.#tried.values()) giveUp()
  }
}
