import { describeValue, refuse, UnitError } from './unit-error.ts'

/** How values of a unit are written: T is what they are in code. */
export interface Notation<T> {
  /** What messages call it, with an example. */
  readonly expected: string
  /** A regular expression that the texts match, for editors by the JSON Schema. */
  readonly pattern: string
  /** Throws UnitError. */
  parse(input: string | number): T
  format(value: T): string
}

/** A share of a whole such as a disk, above 0 and at most 100. */
export interface Percentage {
  readonly percent: number
}

// Milliseconds.
export const second = 1000
export const minute = 60 * second
export const hour = 60 * minute
const day = 24 * hour

// The largest first, as they have to be written: "1h30m", never "30m1h".
const durationUnits = { w: 7 * day, d: day, h: hour, m: minute, s: second, ms: 1 } as const
const sizeUnits = ['TiB', 'GiB', 'MiB', 'KiB', 'TB', 'GB', 'MB', 'kB'] as const

const number = String.raw`(\d+(?:\.\d+)?)`
const durationParts = Object.keys(durationUnits).map((unit) => `(?:${number} ?${unit})?`)

// What the parsers below take.
const sizePattern = `^${number}(?: ?([kKmMgGtT][iI]?)?[bB])?$`
const sharePattern = `^${number} ?%$`
const durationPattern = `^(?=.)(?:${durationParts.join('')}|${number})$`
// "b" and "B" are a factor of eight apart, so the case of these letters counts.
const ratePattern = `^(?:off|${number}(?: ?([kKMGT]i?)?(B|bit)/s)?)$`

/** Bytes. */
export const sizes: Notation<number> = {
  expected: 'a size such as 50GB or 512MiB',
  pattern: sizePattern,
  parse: parseSize,
  format: formatSize,
}

/** Shares. */
export const shares: Notation<Percentage> = {
  expected: 'a share such as 80%',
  pattern: sharePattern,
  parse: parsePercentage,
  // A hundredth of a percent times a hundred is not always a whole number to a computer.
  format: ({ percent }) => `${Number(percent.toPrecision(12))}%`,
}

/** Bytes, or a share of the disk. */
export const sizesOrShares: Notation<number | Percentage> = {
  expected: 'a size such as 50GB or 80%',
  pattern: `${sharePattern}|${sizePattern}`,
  parse: parseSizeOrPercentage,
  format: (value) => (typeof value === 'number' ? formatSize(value) : shares.format(value)),
}

/** Milliseconds. */
export const durations: Notation<number> = {
  expected: 'a duration such as 6h',
  pattern: durationPattern,
  parse: parseDuration,
  format: formatDuration,
}

/** Bytes a second; undefined for no limit. */
export const rates: Notation<number | undefined> = {
  expected: 'a rate such as 10MB/s, or off',
  pattern: ratePattern,
  parse: parseRate,
  format: formatRate,
}

/** Bytes from `50GB` (10^9 each), `512MiB` (2^20 each) or a plain number. Throws UnitError. */
export function parseSize(input: string | number): number {
  const [, bare, letter = ''] = new RegExp(`^${number} ?([kmgt])i?$`, 'i').exec(String(input).trim()) ?? []
  const unit = `${bare}${letter.toUpperCase()}`
  const hint = bare && `: write ${unit}B (decimal) or ${unit}iB (binary)`
  const bytes = ([count, prefix]: Groups) => Number(count) * multiplier(prefix)
  return amount(input, sizePattern, bytes, sizes.expected, hint)
}

/** Bytes as in parseSize, or a share of the disk from `80%`. Throws UnitError. */
export function parseSizeOrPercentage(input: string | number): number | Percentage {
  return new RegExp(sharePattern).test(String(input).trim()) ? parsePercentage(input) : parseSize(input)
}

/** A share from `80%`. Throws UnitError. */
function parsePercentage(input: string | number): Percentage {
  const [, percent] = new RegExp(sharePattern).exec(String(input).trim()) ?? refuse(shares.expected, input)
  const share = Number(percent)
  return share > 0 && share <= 100 ? { percent: share } : refuse('a share above 0% and at most 100%', input)
}

/** Milliseconds from `30s`, `15m`, `24h`, `7d`, `2w`, `1h30m`, `500ms`; a plain number is seconds. Throws UnitError. */
export function parseDuration(input: string | number): number {
  const factors = [...Object.values(durationUnits), durationUnits.s]
  const milliseconds = (counts: Groups) =>
    factors.reduce((sum, factor, index) => sum + Number(counts[index] ?? 0) * factor, 0)
  return amount(input, durationPattern, milliseconds, durations.expected)
}

/**
 * Bytes a second from `10MB/s`, `8Mbit/s` or a plain number (bytes a second); undefined for `off` and 0, which
 * mean no limit. Throws UnitError.
 */
export function parseRate(input: string | number | false): number | undefined {
  if (input === false || String(input).trim().toLowerCase() === 'off') return undefined
  const bytes = ([count, prefix, unit]: Groups) =>
    (Number(count) * multiplier(prefix)) / (unit === 'bit' ? 8 : 1)
  const rate = amount(input, ratePattern, bytes, 'a rate such as 10MB/s or 8Mbit/s, or off')
  if (rate > 0) return rate
  if (!/[1-9]/.test(String(input))) return undefined
  throw new UnitError(`${describeValue(input)} is less than one byte a second: write off for no limit`)
}

/** The shortest spelling that parseSize turns into the same number of bytes. */
export function formatSize(bytes: number): string {
  const counts = sizeUnits.map((unit) => [bytes / multiplier(unit.slice(0, -1)), unit] as const)
  const whole = counts.filter(([count]) => count > 0 && Number.isInteger(count))
  const spellings = [...whole, [bytes, 'B'] as const].map(([count, unit]) => `${count}${unit}`)
  return spellings.reduce((best, other) => (other.length < best.length ? other : best))
}

/** The spelling of milliseconds that parseDuration turns into the same number; Infinity is `never`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds === Number.POSITIVE_INFINITY) return 'never'
  let rest = milliseconds
  let text = ''
  // Weeks are left out: "30d" reads better than "4w2d".
  for (const [unit, unitMs] of Object.entries(durationUnits).slice(1)) {
    if (rest >= unitMs) text += `${Math.floor(rest / unitMs)}${unit}`
    rest %= unitMs
  }
  return text || '0s'
}

/** The spelling of bytes a second that parseRate turns into the same number; undefined is `off`. */
export function formatRate(bytesPerSecond: number | undefined): string {
  return bytesPerSecond === undefined ? 'off' : `${formatSize(bytesPerSecond)}/s`
}

/** What the groups of a pattern matched. */
type Groups = readonly (string | undefined)[]

/** A whole number out of what a pattern finds in a text or plain number. */
function amount(
  input: string | number,
  pattern: string,
  toNumber: (groups: Groups) => number,
  expected: string,
  hint?: string,
): number {
  const [, ...groups] = new RegExp(pattern).exec(String(input).trim()) ?? refuse(expected, input, hint)
  const value = Math.round(toNumber(groups))
  if (Number.isSafeInteger(value)) return value
  throw new UnitError(`${describeValue(input)} is too large`)
}

/** Of the prefix of a unit: 1000 or, with an "i", 1024 to the power that it stands for. */
function multiplier(prefix = ''): number {
  return (prefix.length === 2 ? 1024 : 1000) ** ' kmgt'.indexOf(prefix.charAt(0).toLowerCase() || ' ')
}
