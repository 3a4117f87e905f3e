/** The clients that want something at this moment; one may want it several times. */
export class Crowd implements Iterable<string> {
  readonly #times = new Map<string, number>()
  readonly #onEmpty: () => void
  #emptySince = performance.now()

  /** `onEmpty` is called when the last one has left. */
  constructor(onEmpty: () => void) {
    this.#onEmpty = onEmpty
  }

  get isEmpty(): boolean {
    return this.#times.size === 0
  }

  /** When the last one left, in milliseconds of `performance.now()`. */
  get emptySince(): number {
    return this.#emptySince
  }

  /** Returns what takes it out again, to be called once. */
  enter(client: string): () => void {
    this.#times.set(client, (this.#times.get(client) ?? 0) + 1)
    return () => {
      const times = this.#times.get(client) ?? 0
      if (times > 1) this.#times.set(client, times - 1)
      else this.#times.delete(client)
      if (!this.isEmpty) return
      this.#emptySince = performance.now()
      this.#onEmpty()
    }
  }

  [Symbol.iterator](): Iterator<string> {
    return this.#times.keys()
  }
}
