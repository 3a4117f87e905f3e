/** A span of bytes. */
export interface ByteRange {
  readonly start: number
  /** Exclusive. */
  readonly end: number
}

/** A span of bytes of a representation, as an upstream announces it. */
export interface ContentRange extends ByteRange {
  /** Bytes of the whole representation; undefined where the sender wrote `*`. */
  readonly size: number | undefined
}

/**
 * One range of a Range header, before the size is known: from `first` on to `last` (inclusive; undefined: to the end), or
 * the last `suffix` bytes. Digits beyond 2^53 lose precision or become Infinity; both are beyond any size.
 */
export type RangeSpec =
  | { readonly first: number; readonly last: number | undefined }
  | { readonly suffix: number }

/**
 * Ranges that are looked at in one header. Clients of zstd:chunked images ask for as many at once, and for no more
 * (`maxNumberMissingChunks` of containers/storage); RFC 9110 17.15 wants a bound.
 */
const maximumRanges = 1024
// Range units are case-insensitive (RFC 9110 14.1).
const unit = /^bytes=/i
const specGrammar = /^(\d*)-(\d*)$/
const contentRangeGrammar = /^bytes (\d+)-(\d+)\/(\d+|\*)$/i

/**
 * Reads a Range header (RFC 9110 14.1.2, 14.2). Undefined means: ignore it and answer 200 with everything; so it is for
 * other units, for what cannot be read, and for more ranges than are looked at.
 */
export function parseRanges(header: string | undefined): readonly RangeSpec[] | undefined {
  if (header === undefined || !unit.test(header)) return undefined
  const set = header.slice('bytes='.length)
  if (set !== set.trim()) return undefined
  const specs: RangeSpec[] = []
  for (const element of set.split(',')) {
    // Empty elements are legal and mean nothing (RFC 9110 5.6.1.2).
    const text = element.trim()
    if (text === '') continue
    const spec = parseSpec(text)
    if (spec === undefined || specs.length === maximumRanges) return undefined
    specs.push(spec)
  }
  return specs.length > 0 ? specs : undefined
}

function parseSpec(text: string): RangeSpec | undefined {
  const match = specGrammar.exec(text)
  if (match === null) return undefined
  const [, first = '', last = ''] = match
  if (first !== '') return { first: Number(first), last: last === '' ? undefined : Number(last) }
  return last === '' ? undefined : { suffix: Number(last) }
}

/**
 * What ranges are of a representation of `size` bytes, at least one and in the order in which they were asked for; those
 * that lie outside are left out. Those that overlap are one, in the place of the first of them (RFC 9110 15.3.7.2). Those
 * that only touch, or nearly, stay apart: containers/image counts the parts of an answer, and takes one less for an error.
 * Undefined means: answer 200 with everything, since they have more bytes than that in all. `'unsatisfiable'` means 416.
 */
export function satisfiableRanges(
  specs: readonly RangeSpec[],
  size: number,
): readonly ByteRange[] | 'unsatisfiable' | undefined {
  // Whoever wants a span that ends before it begins has miscounted: the whole blob would help nobody (RFC 9110 14.2
  // leaves the choice, nginx and Go's servers refuse it too).
  if (specs.some(isBackwards)) return 'unsatisfiable'
  const ranges = specs.flatMap((spec) => within(spec, size) ?? [])
  if (ranges.length === 0) return 'unsatisfiable'
  const bytes = ranges.reduce((sum, { start, end }) => sum + end - start, 0)
  return bytes > size ? undefined : joined(ranges)
}

/**
 * The bytes that whoever asks for these ranges is going to read, as far as that can be said: before the size is known, of
 * closed ranges alone. Undefined: all, or nobody knows. What reaches the end is given only once all is verified, and
 * so needs all of it, behind what it asks for.
 */
export function neededRanges(
  specs: readonly RangeSpec[],
  size: number | undefined,
): readonly ByteRange[] | undefined {
  if (size === undefined) {
    const ranges = specs.flatMap((spec) => within(spec, Number.MAX_SAFE_INTEGER) ?? [])
    const isClosed = specs.every((spec) => 'first' in spec && spec.last !== undefined && !isBackwards(spec))
    return isClosed && ranges.length === specs.length ? joined(ranges) : undefined
  }
  const ranges = satisfiableRanges(specs, size)
  if (ranges === undefined || ranges === 'unsatisfiable') return undefined
  return ranges.some(({ end }) => end === size) ? [...ranges, { start: 0, end: size }] : ranges
}

function isBackwards(spec: RangeSpec): boolean {
  return 'first' in spec && spec.last !== undefined && spec.last < spec.first
}

function within(spec: RangeSpec, size: number): ByteRange | undefined {
  if ('suffix' in spec) {
    return spec.suffix === 0 || size === 0 ? undefined : { start: Math.max(0, size - spec.suffix), end: size }
  }
  const { first, last } = spec
  return first >= size
    ? undefined
    : { start: first, end: last === undefined ? size : Math.min(last + 1, size) }
}

function joined(ranges: readonly ByteRange[]): ByteRange[] {
  const groups: { start: number; end: number; place: number }[] = []
  const byStart = ranges.map((range, place) => ({ ...range, place })).toSorted((a, b) => a.start - b.start)
  for (const { start, end, place } of byStart) {
    const last = groups.at(-1)
    if (last && start < last.end) {
      last.end = Math.max(last.end, end)
      last.place = Math.min(last.place, place)
    } else groups.push({ start, end, place })
  }
  return groups.toSorted((a, b) => a.place - b.place).map(({ start, end }) => ({ start, end }))
}

/**
 * Reads the Content-Range header of a 206 (RFC 9110 14.4): `bytes 0-99/200` or `bytes 0-99/*`.
 * Undefined for anything else, such as other units, numbers beyond 2^53 or a last byte outside of the size.
 */
export function parseContentRange(header: string | undefined): ContentRange | undefined {
  const match = contentRangeGrammar.exec(header ?? '')
  if (match === null) return undefined
  const [, first = '', last = '', total = ''] = match
  const start = Number(first)
  const end = Number(last) + 1
  const size = total === '*' ? undefined : Number(total)
  if (!Number.isSafeInteger(end) || start >= end) return undefined
  if (size !== undefined && (!Number.isSafeInteger(size) || end > size)) return undefined
  return { start, end, size }
}
