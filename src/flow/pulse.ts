import { AsyncLocalStorage } from 'node:async_hooks'

const current = new AsyncLocalStorage<Pulse>()

/** A connection is made by kernels and boxes on the way: an answer to what is sent on it takes a few of its steps. */
const timesOfAStep = 4

/**
 * The signs of life of a piece of work, for those who wait for it: where there are none for too long they may leave,
 * and the work goes on. It travels with the work (`Pulse.current`), so that the connection at its far end can beat
 * without every function between having to hand it on.
 */
export class Pulse {
  readonly #followers = new Set<Pulse>()
  readonly #listeners = new Set<(reason: unknown) => void>()
  readonly #onBeat: ((stepMs: number | undefined) => void) | undefined
  #lastBeat = performance.now()
  /** When the last step since then was done, and how long the longest took. */
  #steppedAt = Number.NEGATIVE_INFINITY
  #longestStepMs = 0
  #bytes = 0
  #receivingSince: number | undefined
  #silence: { readonly reason: unknown } | undefined

  /** `onBeat` hears of each sign of life, with the milliseconds that it took where it was a step on the way. */
  constructor(onBeat?: (stepMs: number | undefined) => void) {
    this.#onBeat = onBeat
  }

  /** The pulse of the work that this code is a part of. */
  static get current(): Pulse | undefined {
    return current.getStore()
  }

  /** When it last beat, in milliseconds of `performance.now`. */
  get lastBeat(): number {
    return this.#lastBeat
  }

  /** Bytes of answers that came. */
  get bytes(): number {
    return this.#bytes
  }

  /** When the first of them came, in milliseconds of `performance.now`. */
  get receivingSince(): number | undefined {
    return this.#receivingSince
  }

  /** Does `work`, with this as its pulse. */
  run<Value>(work: () => Promise<Value>): Promise<Value> {
    return current.run(this, work)
  }

  /** A sign of life: the work goes on, or bytes of an answer came. */
  beat(bytes = 0): void {
    this.#lastBeat = performance.now()
    this.#longestStepMs = 0
    this.#bytes += bytes
    if (bytes > 0) this.#receivingSince ??= this.#lastBeat
    this.#beaten(undefined)
    for (const follower of this.#followers) follower.beat(bytes)
  }

  /** A step on the way to the other side was done (a name was found, a connection made) and took so many milliseconds. */
  stepped(ms: number): void {
    this.#steppedAt = performance.now()
    this.#longestStepMs = Math.max(this.#longestStepMs, ms)
    this.#beaten(ms)
    for (const follower of this.#followers) follower.stepped(ms)
  }

  /**
   * When it has been silent for so long, in milliseconds of `performance.now`, if nothing more comes. A step is worth a few
   * times what it took, and no more than a beat: who connects to what hangs, or is far behind a dead line, is not alive.
   */
  silentAt(patienceMs: number): number {
    const worthMs = Math.min(timesOfAStep * this.#longestStepMs, patienceMs)
    return Math.max(this.#lastBeat + patienceMs, this.#steppedAt + worthMs)
  }

  /** Tells everybody who listens why nobody has to wait any more, and those who come later, until it beats again. */
  fallSilent(reason: unknown): void {
    this.#silence = { reason }
    for (const listener of this.#listeners) listener(reason)
  }

  /** Calls `listener` each time that it falls silent, now where it is. Returns what ends that. */
  whenSilent(listener: (reason: unknown) => void): () => void {
    this.#listeners.add(listener)
    if (this.#silence) listener(this.#silence.reason)
    return () => this.#listeners.delete(listener)
  }

  /** The pulse of the work that this code is a part of beats along with this one. Returns what ends that. */
  leadCurrent(): () => void {
    const follower = Pulse.current
    if (!follower || follower === this) return () => {}
    this.#followers.add(follower)
    return () => this.#followers.delete(follower)
  }

  #beaten(stepMs: number | undefined): void {
    this.#silence = undefined
    this.#onBeat?.(stepMs)
  }
}

/** Waits for a step of the work that `pulse` belongs to, and tells it so. Rejects as `step` does. */
export async function stepOf<Value>(pulse: Pulse | undefined, step: Promise<Value>): Promise<Value> {
  const begunAt = performance.now()
  const done = await step
  pulse?.stepped(performance.now() - begunAt)
  return done
}
