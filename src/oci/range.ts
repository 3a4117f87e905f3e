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

// Range units are case-insensitive (RFC 9110 14.1). Anything but one range does not match.
const rangeGrammar = /^bytes=(\d*)-(\d*)$/i
const contentRangeGrammar = /^bytes (\d+)-(\d+)\/(\d+|\*)$/i

/**
 * Reads a Range header against a representation of `size` bytes (RFC 9110 14.1.2, 14.2).
 * Undefined means: ignore the header and answer 200 with everything. So it is for several ranges too, which a
 * server may ignore, and whose amplification is thereby impossible. `'unsatisfiable'` means 416.
 */
export function parseRange(
  header: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const match = rangeGrammar.exec(header ?? '')
  if (match === null) return undefined
  const [, first = '', last = ''] = match
  if (first === '') return last === '' ? undefined : suffix(Number(last), size)

  // Digits beyond 2^53 lose precision or become Infinity; both are beyond any size, which is all that counts.
  const start = Number(first)
  const end = last === '' ? size : Math.min(Number(last) + 1, size)
  // Whoever wants a span that ends before it begins has miscounted: the whole blob would help nobody (RFC 9110 14.2
  // leaves the choice, nginx and Go's servers refuse it too).
  const isBackwards = last !== '' && Number(last) < start
  return isBackwards || start >= size ? 'unsatisfiable' : { start, end }
}

function suffix(length: number, size: number): ByteRange | 'unsatisfiable' {
  if (length === 0 || size === 0) return 'unsatisfiable'
  return { start: Math.max(0, size - length), end: size }
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
