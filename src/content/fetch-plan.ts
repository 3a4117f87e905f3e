import type { ByteInterval, ReadonlyRanges } from '../storage/ranges.ts'

/** What a connection is about to bring. */
export interface UnderWay {
  /** Of the next byte that it brings. */
  readonly position: number
  /** Where that ends (exclusive). */
  readonly until: number
  /** Bytes that it brings so soon that another connection would not be sooner. */
  readonly reach: number
  /** Whether it has been so slow for so long that half of what it has before it is worth being asked for once more. */
  readonly isLagging?: boolean
}

/** What somebody reads: from where on, and to where. */
export interface Want extends ByteInterval {
  /** Whether its first byte is waited for at this moment. */
  readonly isWaiting: boolean
}

/** All that there is to know about a blob on its way. Bytes, and positions of bytes. */
export interface FetchState<Connection extends UnderWay = UnderWay> {
  /** Of the blob, or more than that where nobody knows it. */
  readonly size: number
  readonly present: ReadonlyRanges
  readonly underWay: readonly Connection[]
  readonly wants: readonly Want[]
  /** Whether what nobody wants is brought as well, once there is nothing else. */
  readonly bringsAll: boolean
  /** Of the next span, if nothing ends it before. */
  readonly length: number
  /** Of the shortest span that is worth a connection of its own. */
  readonly smallest: number
  /** How far behind the first missing byte a span begins that nobody waits for: what lies far ahead is read back. */
  readonly ahead: number
}

/** What a free connection should bring. */
export interface PlannedSpan<Connection extends UnderWay = UnderWay> extends ByteInterval {
  /** Whether somebody wants it. */
  readonly isWanted: boolean
  /** Whether somebody waits for its first byte, which nobody brings soon. */
  readonly isUrgent: boolean
  /** Which connection has to end where this span begins. */
  readonly cuts?: Connection
}

interface Candidate<Connection extends UnderWay> extends PlannedSpan<Connection> {
  /** Bytes between whoever wants it and its first one: those with fewer go first. */
  readonly distance: number
}

/**
 * The next span that a free connection should bring; undefined where nothing is left to ask for. Whoever waits where nothing
 * comes goes first, then what is missed soonest by those who read, in a window behind what they miss first; then the rest; at
 * last half of what a connection has before it that lags behind. Nothing else cuts one short: what is on its way then comes
 * twice. No span overlaps another one. Pure: no clock, no input or output.
 */
export function nextSpan<Connection extends UnderWay>(
  about: FetchState<Connection>,
): PlannedSpan<Connection> | undefined {
  const underWay = about.underWay.toSorted((a, b) => a.position - b.position)
  const state = { ...about, underWay }
  const wanted = state.wants.flatMap((want) => drawn(state, want) ?? inFrontOf(state, want) ?? [])
  if (wanted.length > 0) return wanted.reduce((one, other) => (other.distance < one.distance ? other : one))
  const all: Want = { start: 0, end: state.size, isWaiting: false }
  const rest = state.bringsAll ? inFrontOf(state, all) : undefined
  return rest ? { ...rest, isWanted: false } : half(state)
}

/** What is known of a blob at a moment. */
export interface FetchSite {
  /** Bytes; undefined: nobody has told, or claimed. */
  readonly size: number | undefined
  readonly present: ReadonlyRanges
  /** Whether several connections may bring it: its size is told, it goes to a disk, and it was not wrong before. */
  readonly isDivisible: boolean
  readonly wants: readonly Want[]
  /** Whether what nobody wants is brought as well. */
  readonly bringsAll: boolean
}

/** Bytes of a blob whose size nobody tells; an endless one must end somewhere. */
export const maximumUnknownSize = 64 * 1024 ** 3

/** Whether anything is to be brought that is not here, whoever brings it. */
export function isMissing({ size = maximumUnknownSize, present, wants, bringsAll }: FetchSite): boolean {
  if (bringsAll) return present.firstGap(size) !== undefined
  return wants.some(({ start, end }) => present.firstGap(Math.min(end, size), start) !== undefined)
}

/** Somebody waits in the middle of what a connection brings, that is not there for long. */
function drawn<Connection extends UnderWay>(
  { underWay, present, size, length, smallest }: FetchState<Connection>,
  { start, end, isWaiting }: Want,
): Candidate<Connection> | undefined {
  if (!isWaiting || present.presentUntil(start) > start) return undefined
  const cuts = underWay.find((one) => one.position <= start && start < one.until)
  if (!cuts || start - cuts.position <= Math.max(cuts.reach, smallest)) return undefined
  const gap = present.firstGap(Math.min(cuts.until, end, size), start)
  if (!gap) return undefined
  const span = { start, end: Math.min(gap.end, start + length) }
  return { ...span, isWanted: true, isUrgent: true, cuts, distance: 0 }
}

/** The first bytes of a want that nobody brings. */
function inFrontOf<Connection extends UnderWay>(
  state: FetchState<Connection>,
  want: Want,
): Candidate<Connection> | undefined {
  const { present, underWay, size, length, smallest, ahead, bringsAll } = state
  const until = Math.min(want.end, size)
  const missing = present.firstGap(until, want.start)
  if (!missing) return undefined
  for (
    let gap: ByteInterval | undefined = missing;
    gap && gap.start < missing.start + ahead;
    gap = present.firstGap(until, gap.end)
  ) {
    const free = freePart(gap, underWay)
    if (!free || free.start >= missing.start + ahead) continue
    const worth = bringsAll ? worthAsking(state, free) : free
    const end = worth.start + length
    return {
      start: worth.start,
      // What would be left of it is not worth a connection.
      end: worth.end - end < smallest / 2 ? worth.end : end,
      isWanted: true,
      isUrgent: want.isWaiting && free.start === want.start,
      distance: free.start - want.start,
    }
  }
  return undefined
}

/**
 * What comes anyway does not come byte by byte: as much as is worth a question, with what is missing behind it, and before it
 * where that is too little.
 */
function worthAsking(
  { present, underWay, size, smallest }: FetchState,
  { start, end }: ByteInterval,
): ByteInterval {
  if (end - start >= smallest) return { start, end }
  const gap = present.firstGap(Math.min(start + smallest, size), start) ?? { start, end }
  const until = freePart({ start, end: gap.end }, underWay)?.end ?? end
  const before = present.gaps(Math.max(0, until - smallest), until).at(-1)?.start ?? start
  const brought = underWay.flatMap((one) => (one.until <= start ? one.until : []))
  return { start: Math.min(start, Math.max(before, ...brought)), end: until }
}

/** The first part of a gap that nobody brings. */
function freePart({ start, end }: ByteInterval, underWay: readonly UnderWay[]): ByteInterval | undefined {
  let free = start
  for (const one of underWay) {
    if (one.position > free) return { start: free, end: Math.min(end, one.position) }
    free = Math.max(free, one.until)
    if (free >= end) return undefined
  }
  return { start: free, end }
}

/** Half of what a connection has before it that lags behind. */
function half<Connection extends UnderWay>({
  underWay,
  present,
  smallest,
  size,
  wants,
}: FetchState<Connection>): PlannedSpan<Connection> | undefined {
  const spans = underWay.flatMap((cuts) => {
    const end = Math.min(cuts.until, size)
    const left = end - cuts.position
    const start = cuts.position + Math.ceil(left / 2)
    const isWorthIt = cuts.isLagging === true && end - start >= smallest
    return isWorthIt && present.gaps(start, end).length === 1 ? [{ start, end, cuts, left }] : []
  })
  if (spans.length === 0) return undefined
  const { start, end, cuts } = spans.reduce((one, other) => (other.left > one.left ? other : one))
  const isWanted = wants.some((want) => want.start < end && want.end > start)
  return { start, end, cuts, isWanted, isUrgent: false }
}

/** Whether somebody wants some of what a connection is still to bring. */
export function overlaps({ start, end }: ByteInterval, { position, until }: UnderWay): boolean {
  return start < until && end > position
}
