import { describeValue } from './describe-value.ts'

/** A text that is no size, duration or rate. The message says what was expected and what was found. */
export class UnitError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'UnitError'
  }
}

/** A share of a disk, above 0 and at most 100. */
export interface Percentage {
  readonly percent: number
}

const multipliers: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
}

// The largest first, as they have to be written: "1h30m", never "30m1h".
const durationUnits = [
  ['w', 604_800_000],
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const

const number = String.raw`(\d{1,20}(?:\.\d{1,20})?)`
const plainNumber = new RegExp(`^${number}$`)
const sizeGrammar = new RegExp(`^${number} ?([kmgt]i?)?b$`, 'i')
const sizeWithoutUnit = new RegExp(`^${number} ?([kmgt])(i?)$`, 'i')
const percentGrammar = new RegExp(`^${number} ?%$`)
// "b" and "B" are a factor of eight apart, so the case of these letters counts.
const rateGrammar = new RegExp(`^${number} ?([kKMGT]i?)?(B|bit)/s$`)
const durationGrammar = new RegExp(`^${durationUnits.map(([unit]) => `(?:${number}${unit})?`).join('')}$`)

/** Bytes from `50GB` (10^9 each), `512MiB` (2^20 each) or a plain number. Throws UnitError. */
export function parseSize(input: string | number): number {
  if (typeof input === 'number') return wholeNumber(input, input, 'size such as 50GB or 512MiB')
  const text = input.trim()
  const plain = plainNumber.exec(text)
  if (plain) return wholeNumber(Number(plain[1]), input, 'size such as 50GB or 512MiB')
  const match = sizeGrammar.exec(text)
  if (!match) {
    const bare = sizeWithoutUnit.exec(text)
    const letter = bare?.[2]?.toUpperCase()
    const hint = bare ? `: write ${bare[1]}${letter}B (decimal) or ${bare[1]}${letter}iB (binary)` : ''
    throw new UnitError(`expected a size such as 50GB or 512MiB; got ${describeValue(input)}${hint}`)
  }
  const factor = multipliers[(match[2] ?? '').toLowerCase()] ?? 1
  return wholeNumber(Number(match[1]) * factor, input, 'size such as 50GB or 512MiB')
}

/** Bytes as in parseSize, or a share of the disk from `80%`. Throws UnitError. */
export function parseSizeOrPercentage(input: string | number): number | Percentage {
  const match = typeof input === 'string' ? percentGrammar.exec(input.trim()) : null
  if (!match) return parseSize(input)
  const percent = Number(match[1])
  if (percent > 0 && percent <= 100) return { percent }
  throw new UnitError(`expected a share above 0% and at most 100%; got ${describeValue(input)}`)
}

/** Milliseconds from `30s`, `15m`, `24h`, `7d`, `2w`, `1h30m`, `500ms`; a plain number is seconds. Throws UnitError. */
export function parseDuration(input: string | number): number {
  const expected = 'duration such as 6h'
  if (typeof input === 'number') return wholeNumber(input * 1000, input, expected)
  const text = input.trim()
  const plain = plainNumber.exec(text)
  if (plain) return wholeNumber(Number(plain[1]) * 1000, input, expected)
  const match = text === '' ? null : durationGrammar.exec(text)
  if (!match) throw new UnitError(`expected a ${expected}; got ${describeValue(input)}`)
  const total = durationUnits.reduce(
    (sum, [, unitMs], index) => sum + Number(match[index + 1] ?? 0) * unitMs,
    0,
  )
  return wholeNumber(total, input, expected)
}

/**
 * Bytes a second from `10MB/s`, `8Mbit/s` or a plain number (bytes a second); undefined for `off` and 0, which
 * mean no limit. Throws UnitError.
 */
export function parseRate(input: string | number | false): number | undefined {
  const expected = 'rate such as 10MB/s or 8Mbit/s, or off'
  if (input === false || input === 0) return undefined
  if (typeof input === 'number') return positiveRate(wholeNumber(input, input, expected), input)
  const text = input.trim()
  if (text.toLowerCase() === 'off') return undefined
  const plain = plainNumber.exec(text)
  const match = plain ?? rateGrammar.exec(text)
  if (!match) throw new UnitError(`expected a ${expected}; got ${describeValue(input)}`)
  const amount = Number(match[1])
  if (amount === 0) return undefined
  const factor = multipliers[(match[2] ?? '').toLowerCase()] ?? 1
  return positiveRate(wholeNumber((amount * factor) / (match[3] === 'bit' ? 8 : 1), input, expected), input)
}

/** The shortest spelling that parseSize turns into the same number of bytes. */
export function formatSize(bytes: number): string {
  return shortest(bytes, [
    ['TiB', 2 ** 40],
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
    ['TB', 1e12],
    ['GB', 1e9],
    ['MB', 1e6],
    ['kB', 1e3],
    ['B', 1],
  ])
}

/** The spelling of milliseconds that parseDuration turns into the same number; Infinity is `never`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds === Number.POSITIVE_INFINITY) return 'never'
  if (milliseconds === 0) return '0s'
  let rest = milliseconds
  let text = ''
  // Weeks are left out: "30d" reads better than "4w2d".
  for (const [unit, unitMs] of durationUnits.slice(1)) {
    const count = Math.floor(rest / unitMs)
    rest -= count * unitMs
    if (count > 0) text += `${count}${unit}`
  }
  return text
}

/** The spelling of bytes a second that parseRate turns into the same number; undefined is `off`. */
export function formatRate(bytesPerSecond: number | undefined): string {
  return bytesPerSecond === undefined ? 'off' : `${formatSize(bytesPerSecond)}/s`
}

function wholeNumber(value: number, input: string | number, expected: string): number {
  if (!Number.isFinite(value) || value < 0) {
    throw new UnitError(`expected a ${expected}; got ${describeValue(input)}`)
  }
  const rounded = Math.round(value)
  if (!Number.isSafeInteger(rounded)) throw new UnitError(`${describeValue(input)} is too large`)
  return rounded
}

function positiveRate(bytesPerSecond: number, input: string | number): number {
  if (bytesPerSecond > 0) return bytesPerSecond
  throw new UnitError(`${describeValue(input)} is less than one byte a second: write off for no limit`)
}

function shortest(value: number, units: readonly (readonly [string, number])[]): string {
  let best = `${value}B`
  for (const [unit, factor] of units) {
    if (value === 0 || value % factor !== 0) continue
    const text = `${value / factor}${unit}`
    if (text.length < best.length) best = text
  }
  return best
}
