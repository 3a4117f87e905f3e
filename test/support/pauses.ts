const lookEveryMs = 20

/**
 * When this process could not run. What it stands in for (an upstream, its line, a proxy) was silent meanwhile, and whoever
 * has waited as long as it does for that was right to give up. Dispose to end it.
 */
export class Pauses implements Disposable {
  readonly #pauses: { readonly from: number; readonly to: number }[] = []
  readonly #timer: NodeJS.Timeout
  #lastLook = performance.now()

  constructor() {
    this.#timer = setInterval(() => this.#look(), lookEveryMs).unref()
  }

  /** Milliseconds of the longest one since `from`, of `performance.now()`. */
  longestSince(from: number): number {
    return Math.max(0, ...this.#lengthsSince(from))
  }

  /** Milliseconds of all of them together since `from`, of `performance.now()`. */
  totalSince(from: number): number {
    return this.#lengthsSince(from).reduce((sum, ms) => sum + ms, 0)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #lengthsSince(from: number): number[] {
    this.#look()
    return this.#pauses.map((pause) => Math.max(0, pause.to - Math.max(pause.from, from)))
  }

  #look(): void {
    const now = performance.now()
    const from = this.#lastLook + lookEveryMs
    if (now > from + lookEveryMs) this.#pauses.push({ from, to: now })
    this.#lastLook = now
  }
}
