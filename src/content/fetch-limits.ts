/** The sizes and times of a fetch. Bytes and milliseconds. */
export interface FetchLimits {
  /** Of the first span of a blob while nobody knows how fast it comes. */
  readonly firstSpan: number
  /** The same where a round trip is long: the sooner others can bring what is behind it. */
  readonly firstSpanOfLongWay: number
  /** A round trip that is long. */
  readonly longWayMs: number
  /** Of the shortest span that is worth a connection of its own. */
  readonly smallestSpan: number
  readonly largestSpan: number
  /** For which a connection brings its span. */
  readonly spanMs: number
  /** The same in round trips, one of which is lost between two spans. */
  readonly spanRoundTrips: number
  /** A blob of no more bytes takes no turn: it is over before the turns are. */
  readonly smallBlob: number
}

export const defaultFetchLimits: FetchLimits = {
  firstSpan: 4 * 1024 * 1024,
  firstSpanOfLongWay: 512 * 1024,
  longWayMs: 50,
  smallestSpan: 256 * 1024,
  largestSpan: 256 * 1024 * 1024,
  spanMs: 2000,
  spanRoundTrips: 30,
  smallBlob: 1024 * 1024,
}
