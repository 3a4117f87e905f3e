import { suggest } from './suggestion.ts'
import {
  describeValue,
  formatDuration,
  formatRate,
  formatSize,
  type Percentage,
  parseDuration,
  parseRate,
  parseSize,
  parseSizeOrPercentage,
  refuse,
  UnitError,
} from './units.ts'

/** What a setting says of itself beside the kind of its value. */
export interface Words {
  /** For people: in the JSON Schema, and in `larder config env`. */
  readonly description: string
  readonly examples?: readonly string[]
  /** What the setting waits for in this version, where it is checked but has no effect yet. */
  readonly reserved?: string
  /** Why a reserved setting must not be set: somebody would rely on a protection that is not there. */
  readonly unprotected?: string
}

/** How the values of a setting are read, shown and described; T is what they are in code. */
export interface Kind<T> extends Words {
  /** In the form of the file; undefined where the setting is off, required or derived when absent. */
  readonly default?: unknown
  readonly required?: boolean
  /** How text from the environment becomes a value: text as it is, or YAML where that yields the right kind. */
  readonly text: 'verbatim' | 'text' | 'yaml'
  /** Never shown and never repeated in a message. */
  readonly secret?: boolean
  /** A file or folder: a relative one belongs to the folder of the file that names it. */
  readonly path?: boolean
  /** The JSON Schema of the forms that people write. */
  readonly schema: Readonly<Record<string, unknown>>
  /** Throws UnitError. Of a list, it returns the items as they are. */
  parse(input: unknown): T
  /** Reads one item of a list; `earlier` are those before it, undefined where wrong. Throws UnitError. */
  item?(input: unknown, earlier: readonly unknown[]): unknown
  /** Turns a value in code back into the form of the file. */
  show(value: T): unknown
}

type Type<T> = Pick<Kind<T>, 'schema' | 'parse'> & Partial<Kind<T>>

/** What a setting is in code when nobody sets it: nothing, unless its options say otherwise. */
type WhenAbsent<O> = O extends { default: string } | { required: true } ? never : undefined

// `${VARIABLE}` may stand wherever a number or one of a few words may.
const reference = { type: 'string', pattern: '\\$\\{' }
const number = String.raw`\d+(\.\d+)?`
const durationParts = ['w', 'd', 'h', 'm', 's', 'ms'].map((unit) => `(${number}${unit})?`)
const durationPattern = `^(?=.)(${durationParts.join('')}|${number})$`
const sizePattern = `^${number}( ?([kKmMgGtT][iI]?)?[bB])?$`
const ratePattern = `^(off|${number}( ?([kKMGT]i?)?(B|bit)/s)?)$`
/** What a shell would have replaced, if it had not been in quotes or in a file. */
const fromHome = /^~(?:\/|$)/

interface TextOptions extends Words {
  readonly default?: string
  readonly required?: true
  readonly secret?: true
  readonly path?: true
  readonly text?: 'verbatim'
  readonly show?: (value: unknown) => unknown
  readonly read?: (text: string) => string
}

/** Free text that is not empty, nor blank; `read` makes the value of it. */
export function text<const O extends TextOptions>(
  expected: string,
  options: O,
): Kind<string | WhenAbsent<O>> {
  const { read = (input: string) => input, secret } = options
  const parse = (input: unknown) => {
    if (typeof input === 'string' && input.trim() !== '') return read(input)
    const hint = typeof input === 'number' ? ': write it in quotes' : ''
    throw new UnitError(`expected ${expected}; got ${(secret ? describeKind : describeValue)(input)}${hint}`)
  }
  return kind<string | WhenAbsent<O>>(options, {
    text: 'text',
    schema: { type: 'string', minLength: 1 },
    parse,
  })
}

/** The path of a file or folder, absolute in code. */
export function path<const O extends TextOptions>(expected: string, options: O) {
  const read = (input: string) => {
    if (!fromHome.test(input)) return input
    throw new UnitError(`expected ${expected}, in full: nobody replaces the "~" of ${describeValue(input)}`)
  }
  return text<O>(expected, { ...options, path: true, read })
}

/** A whole number between two bounds. */
export function count(standard: number, options: Words & { from: number; to: number }): Kind<number> {
  const { from, to } = options
  const schema = { anyOf: [{ type: 'integer', minimum: from, maximum: to }, reference] }
  const parse = (input: unknown) => {
    const isWithin = Number.isInteger(input) && Number(input) >= from && Number(input) <= to
    return isWithin ? Number(input) : refuse(`a whole number from ${from} to ${to}`, input)
  }
  return kind(options, { default: standard, schema, parse })
}

/** Words that a later version will take, and what holds until then. */
interface Later {
  readonly coming?: readonly string[]
  readonly meanwhile?: string
}

/** One of a few words. */
export function choice<const W extends string>(
  standard: NoInfer<W>,
  words: readonly W[],
  options: Words & Later,
): Kind<W> {
  const oneOf = `one of ${words.join(', ')}`
  const parse = (input: unknown) => {
    const word = words.find((known) => known === input)
    if (word !== undefined) return word
    if (options.coming?.includes(String(input))) {
      throw new UnitError(`${describeValue(input)} is not there yet, ${options.meanwhile}: expected ${oneOf}`)
    }
    const near = typeof input === 'string' ? suggest(input, words) : undefined
    return refuse(oneOf, input, near && `: did you mean "${near}"?`)
  }
  const schema = { anyOf: [{ type: 'string', enum: words }, reference] }
  return kind(options, { text: 'text', default: standard, schema, parse })
}

interface DurationOptions extends Words {
  /** Milliseconds. */
  readonly minimum?: number
  /** Milliseconds. Timers take no more than 2^31. */
  readonly maximum?: number
  /** Words that stand for a number of milliseconds. */
  readonly words?: Readonly<Record<string, number>>
}

/** A duration; milliseconds in code. */
export function duration(standard: string, options: DurationOptions): Kind<number> {
  const { minimum = 0, maximum = Number.MAX_SAFE_INTEGER, words = {} } = options
  const upper = maximum === Number.MAX_SAFE_INTEGER ? 'more' : formatDuration(maximum)
  const names = Object.keys(words)
  return kind(options, {
    default: standard,
    schema: pattern(names.length === 0 ? durationPattern : `^(${names.join('|')})$|${durationPattern}`),
    parse: (input) => {
      const text = scalar(input, 'a duration such as 6h')
      const word = names.find((name) => name === String(text).trim().toLowerCase())
      const milliseconds = word === undefined ? parseDuration(text) : Number(words[word])
      const isWithin = word !== undefined || (milliseconds >= minimum && milliseconds <= maximum)
      return isWithin ? milliseconds : refuse(`a duration from ${formatDuration(minimum)} to ${upper}`, input)
    },
    show: (value) => names.find((name) => words[name] === value) ?? formatDuration(value),
  })
}

/** A number of bytes. */
export function size(standard: string, options: Words): Kind<number> {
  const parse = (input: unknown) => parseSize(scalar(input, 'a size such as 50GB or 512MiB'))
  return kind(options, { default: standard, schema: pattern(sizePattern), parse, show: formatSize })
}

/** `auto`, a number of bytes or a share of the disk. */
export function sizeOrShare(standard: string, options: Words): Kind<number | Percentage | 'auto'> {
  return kind<number | Percentage | 'auto'>(options, {
    default: standard,
    schema: pattern(`^auto$|^${number} ?%$|${sizePattern}`),
    parse: (input) => {
      const text = scalar(input, 'a size such as 50GB or 80%, or auto')
      return String(text).trim().toLowerCase() === 'auto' ? 'auto' : parseSizeOrPercentage(text)
    },
    show: (value) =>
      typeof value === 'number' ? formatSize(value) : value === 'auto' ? value : `${value.percent}%`,
  })
}

/** Bytes a second; undefined for no limit. */
export function rate(standard: string, options: Words): Kind<number | undefined> {
  const anyOf = [{ type: 'string' }, { type: 'number' }, { type: 'boolean', const: false }]
  const parse = (input: unknown) =>
    parseRate(input === false ? input : scalar(input, 'a rate such as 10MB/s, or off'))
  const schema = { anyOf, pattern: `${ratePattern}|\\$\\{` }
  return kind(options, { default: standard, schema, parse, show: formatRate })
}

interface ListOptions extends Words {
  readonly default?: readonly string[]
  /** What an item should be. */
  readonly each: string
  readonly read: (text: string) => string
}

/** A list of texts. */
export function list<const O extends ListOptions>(
  expected: string,
  options: O,
): Kind<readonly string[] | (O extends { default: unknown } ? never : undefined)> {
  const { each, read } = options
  return kind<readonly string[]>(options, {
    schema: { type: ['array', 'null'], items: { type: 'string' } },
    parse: (input) => (Array.isArray(input) ? input : refuse(expected, input)),
    item: (input) => (typeof input === 'string' ? read(input) : refuse(each, input)),
  }) as Kind<readonly string[] | (O extends { default: unknown } ? never : undefined)>
}

/** Makes a kind of value; words and options of the setting come over what is usual. */
export function kind<T>(options: Words & Partial<Kind<T>>, type: Type<T>): Kind<T> {
  return { text: 'yaml', show: (value) => value, ...type, ...options }
}

/** A text or a number. */
export function scalar(input: unknown, expected: string): string | number {
  return typeof input === 'string' || Number.isFinite(input)
    ? (input as string | number)
    : refuse(expected, input)
}

function pattern(expression: string) {
  return { pattern: `${expression}|\\$\\{`, type: ['string', 'number'] }
}

/** Names only the kind of a value, for secrets. */
function describeKind(value: unknown): string {
  if (value === '') return 'empty text'
  const kinds: Record<string, string> = { string: 'text', number: 'a number', boolean: 'a boolean' }
  return kinds[typeof value] ?? describeValue(value)
}
