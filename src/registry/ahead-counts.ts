/** Of manifests and blobs, and their bytes together. */
interface Amount {
  manifests: number
  blobs: number
  bytes: number
}

/** What was fetched ahead from one upstream, and for how much of it somebody came. */
export interface AheadCounts {
  readonly fetched: Amount
  readonly wanted: Amount
}

/** Something that is fetched ahead, to be counted once for each. */
export interface AheadItem {
  /** The name of the upstream. */
  readonly upstream: string
  readonly kind: 'manifests' | 'blobs'
  /** Bytes. */
  readonly size: number
}

/** Counts what is fetched ahead by the name of its upstream. */
export class AheadCounter {
  readonly #byUpstream = new Map<string, AheadCounts>()

  /** So far. */
  get byUpstream(): ReadonlyMap<string, AheadCounts> {
    return this.#byUpstream
  }

  /** It has come, or somebody came for it. */
  count(what: keyof AheadCounts, { upstream, kind, size }: AheadItem): void {
    const counts = this.#byUpstream.get(upstream) ?? { fetched: nothing(), wanted: nothing() }
    this.#byUpstream.set(upstream, counts)
    counts[what][kind] += 1
    counts[what].bytes += size
  }
}

function nothing(): Amount {
  return { manifests: 0, blobs: 0, bytes: 0 }
}
