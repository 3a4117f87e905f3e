import { AsyncLocalStorage } from 'node:async_hooks'

const current = new AsyncLocalStorage<Pulse>()

/**
 * The signs of life of a piece of work, for those who wait for it: where there are none for too long they may leave,
 * and the work goes on. It travels with the work (`Pulse.current`), so that the connection at its far end can beat
 * without every function between having to hand it on.
 */
export class Pulse {
  readonly #followers = new Set<Pulse>()
  #lastBeat = performance.now()
  #fell = Promise.withResolvers<never>()
  #isSilent = false

  constructor() {
    // Nobody may be waiting.
    this.#fell.promise.catch(() => {})
  }

  /** The pulse of the work that this code is a part of. */
  static get current(): Pulse | undefined {
    return current.getStore()
  }

  /** When it last beat, in milliseconds of `performance.now`. */
  get lastBeat(): number {
    return this.#lastBeat
  }

  /** Does `work`, with this as its pulse. */
  run<Value>(work: () => Promise<Value>): Promise<Value> {
    return current.run(this, work)
  }

  /** A sign of life: a name was found, a connection made, a byte came. */
  beat(): void {
    this.#lastBeat = performance.now()
    if (this.#isSilent) {
      this.#isSilent = false
      this.#fell = Promise.withResolvers()
      this.#fell.promise.catch(() => {})
    }
    for (const follower of this.#followers) follower.beat()
  }

  /** Lets everybody who waits leave with `reason`, and those who come later, until it beats again. */
  fallSilent(reason: unknown): void {
    this.#isSilent = true
    this.#fell.reject(reason)
  }

  /**
   * Waits for `work`, which has this pulse, until it falls silent; then rejects with the reason. The pulse of whoever
   * waits beats along.
   */
  async whileAlive<Value>(work: Promise<Value>): Promise<Value> {
    const follower = Pulse.current
    if (follower) this.#followers.add(follower)
    try {
      return await Promise.race([work, this.#fell.promise])
    } finally {
      if (follower) this.#followers.delete(follower)
    }
  }
}
