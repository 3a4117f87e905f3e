/** What became of the fills of one upstream. */
export interface FillCounts {
  started: number
  finished: number
  failed: number
  /** Ended with what they had: the mirror stopped, or nobody waited for too many of them. */
  stopped: number
  /** Connections that went on in the middle of a blob. */
  resumes: number
}

/** Counts fills by the name of their upstream. */
export class FillCounter {
  readonly #byUpstream = new Map<string, FillCounts>()

  /** So far. */
  get byUpstream(): ReadonlyMap<string, FillCounts> {
    return this.#byUpstream
  }

  /** The counts of an upstream, to be added to. */
  of(upstream: string): FillCounts {
    let counts = this.#byUpstream.get(upstream)
    if (!counts) {
      counts = { started: 0, finished: 0, failed: 0, stopped: 0, resumes: 0 }
      this.#byUpstream.set(upstream, counts)
    }
    return counts
  }
}
