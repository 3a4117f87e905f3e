/**
 * The signs of life of a piece of work, for those who wait for it: where there are none for too long they may leave,
 * and the work goes on. Whoever does the work calls `beat`; whoever watches it calls `fallSilent`.
 */
export class Pulse {
  readonly #followers = new Set<Pulse>()
  #lastBeat = performance.now()
  #silence: { reason: unknown } | undefined
  #fell = Promise.withResolvers<never>()

  constructor() {
    this.#fell.promise.catch(() => {})
  }

  /** When it last beat, in milliseconds of `performance.now`. */
  get lastBeat(): number {
    return this.#lastBeat
  }

  /** A sign of life: a name was found, a connection made, a byte came. */
  beat(): void {
    this.#lastBeat = performance.now()
    if (this.#silence) {
      this.#silence = undefined
      this.#fell = Promise.withResolvers()
      this.#fell.promise.catch(() => {})
    }
    for (const follower of this.#followers) follower.beat()
  }

  /** Makes `follower` beat with this one for as long as `work` lasts. */
  lend<Value>(follower: Pulse | undefined, work: Promise<Value>): Promise<Value> {
    if (!follower) return work
    this.#followers.add(follower)
    return work.finally(() => this.#followers.delete(follower))
  }

  /** Lets everybody who waits leave with `reason`, and those who come later, until it beats again. */
  fallSilent(reason: unknown): void {
    this.#silence = { reason }
    this.#fell.reject(reason)
  }

  /** Waits for `work` until it falls silent, then rejects with the reason. */
  async whileAlive<Value>(work: Promise<Value>): Promise<Value> {
    return await Promise.race([work, this.#fell.promise])
  }
}
