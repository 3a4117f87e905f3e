/**
 * When bytes of blobs last came from which upstream. Blobs may fill a slow line so far that nothing else gets through
 * for a while: then a question without an answer says nothing about the upstream. One for the whole process, since all
 * upstreams share the line.
 */
export class LineUse {
  /** Milliseconds of `performance.now`. */
  #last = Number.NEGATIVE_INFINITY
  readonly #lastFrom = new Map<string, number>()

  /** Notes that bytes of a blob came from an upstream, whichever of its hosts sent them. */
  note(upstream: string): void {
    this.#last = performance.now()
    this.#lastFrom.set(upstream, this.#last)
  }

  /** When bytes last came from any upstream, in milliseconds of `performance.now`. */
  get lastBytes(): number {
    return this.#last
  }

  /** Whether bytes came from this upstream within so many milliseconds. */
  isBusy(upstream: string, withinMs: number): boolean {
    return performance.now() - (this.#lastFrom.get(upstream) ?? Number.NEGATIVE_INFINITY) < withinMs
  }
}
