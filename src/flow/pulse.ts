import { AsyncLocalStorage } from 'node:async_hooks'

const current = new AsyncLocalStorage<Pulse>()

/** What a sign of life was: a step on the way to the other side, or something that it said. */
type Beat = 'step' | 'answer'

/**
 * The signs of life of a piece of work, for those who wait for it: where there are none for too long they may leave,
 * and the work goes on. It travels with the work (`Pulse.current`), so that the connection at its far end can beat
 * without every function between having to hand it on.
 */
export class Pulse {
  readonly #followers = new Set<Pulse>()
  readonly #listeners = new Set<(reason: unknown) => void>()
  readonly #onBeat: ((beat: Beat) => void) | undefined
  #lastBeat = performance.now()
  #bytes = 0
  #receivingSince: number | undefined
  #silence: { readonly reason: unknown } | undefined

  constructor(onBeat?: (beat: Beat) => void) {
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

  /** A sign of life: a name was found, a connection made, bytes of an answer came. */
  beat(bytes = 0, beat: Beat = bytes > 0 ? 'answer' : 'step'): void {
    this.#lastBeat = performance.now()
    this.#bytes += bytes
    if (bytes > 0) this.#receivingSince ??= this.#lastBeat
    this.#silence = undefined
    this.#onBeat?.(beat)
    for (const follower of this.#followers) follower.beat(bytes, beat)
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
}
