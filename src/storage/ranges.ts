/** A half-open interval of byte positions: `start` belongs to it, `end` does not. */
export interface ByteInterval {
  readonly start: number
  readonly end: number
}

/** Which bytes of a file are there. */
export interface ReadonlyRanges extends Iterable<ByteInterval> {
  /** Bytes present in all. */
  readonly total: number
  /** The end of the present run that holds `position`; `position` itself where that byte is missing. */
  presentUntil(position: number): number
  /** The first missing interval at or after `from` and below `size`; undefined where nothing is missing. */
  firstGap(size: number, from?: number): ByteInterval | undefined
  /** All missing intervals between `start` and `end`. */
  gaps(start: number, end: number): ByteInterval[]
}

/** A set of byte positions, held as sorted intervals that neither touch nor overlap. */
export class Ranges implements ReadonlyRanges {
  readonly #intervals: { start: number; end: number }[] = []

  get total(): number {
    return this.#intervals.reduce((sum, { start, end }) => sum + end - start, 0)
  }

  [Symbol.iterator](): Iterator<ByteInterval> {
    return this.#intervals.values()
  }

  /** Adds the bytes from `start` to `end`; what is there already stays. */
  add(start: number, end: number): void {
    if (end <= start) return
    const first = this.#firstReaching(start)
    let last = first
    let merged = { start, end }
    for (let next = this.#intervals[last]; next && next.start <= end; next = this.#intervals[last]) {
      merged = { start: Math.min(merged.start, next.start), end: Math.max(merged.end, next.end) }
      last += 1
    }
    this.#intervals.splice(first, last - first, merged)
  }

  /** Takes away the bytes from `start` to `end`. */
  remove(start: number, end: number): void {
    if (end <= start) return
    const first = this.#firstReaching(start)
    const rest: ByteInterval[] = []
    let last = first
    for (let next = this.#intervals[last]; next && next.start < end; next = this.#intervals[last]) {
      rest.push(
        { start: next.start, end: Math.min(next.end, start) },
        { start: Math.max(next.start, end), end: next.end },
      )
      last += 1
    }
    this.#intervals.splice(first, last - first, ...rest.filter((one) => one.end > one.start))
  }

  presentUntil(position: number): number {
    const interval = this.#intervals[this.#firstReaching(position + 1)]
    return interval && interval.start <= position ? interval.end : position
  }

  firstGap(size: number, from = 0): ByteInterval | undefined {
    const start = this.presentUntil(from)
    if (start >= size) return undefined
    const next = this.#intervals[this.#firstReaching(start + 1)]
    return { start, end: Math.min(next?.start ?? size, size) }
  }

  gaps(start: number, end: number): ByteInterval[] {
    const gaps: ByteInterval[] = []
    for (let gap = this.firstGap(end, start); gap; gap = this.firstGap(end, gap.end)) gaps.push(gap)
    return gaps
  }

  /** The index of the first interval that ends at or after `position`. */
  #firstReaching(position: number): number {
    let low = 0
    let high = this.#intervals.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#intervals[middle]?.end ?? 0) < position) low = middle + 1
      else high = middle
    }
    return low
  }
}
