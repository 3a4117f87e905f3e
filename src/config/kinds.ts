import { formatListenAddress, type ListenAddress, parseListenAddress } from '../names/listen-address.ts'
import { durations, type Notation, rates, shares } from '../units/notation.ts'
import { suggest } from '../units/suggestion.ts'
import { describeValue, refuse, UnitError } from '../units/unit-error.ts'
import { isMap } from '../yaml/value-tree.ts'

/** A setting: its words, and how its values are read, shown and described; T is what they are in code. */
export interface Kind<T> {
  /** For people: in the JSON Schema, and in `larder config env`. */
  readonly description: string
  readonly examples?: readonly string[]
  /** In the form of the file; undefined where the setting is off, required or derived when absent. */
  readonly default?: unknown
  readonly required?: boolean
  /** Text from the environment is taken as it is, or stays text where YAML would change it; else it is YAML. */
  readonly text?: 'verbatim' | 'text'
  /** Never shown and never repeated in a message. */
  readonly secret?: boolean
  /** A file or folder: a relative one belongs to the folder of the file that names it. */
  readonly path?: boolean
  /** The JSON Schema of the forms that people write. */
  readonly schema: Readonly<Record<string, unknown>>
  /** Throws UnitError. Of a list, it returns the items as they are. */
  parse(input: unknown): T
  /** Reads one item of a list. Throws UnitError. */
  item?(input: unknown): unknown
  /** Turns a value in code back into the form of the file, where they differ. */
  show?(value: T): unknown
}

/** What the table says of a setting beside the kind of its value. */
export type Words = Omit<Kind<unknown>, 'schema' | 'parse' | 'item'>

/** The least and the greatest value. */
type Range = readonly [from: number, to: number]

// `${VARIABLE}` may stand wherever a number or one of a few words may.
const reference = { type: 'string', pattern: '\\$\\{' }

type Read = { readonly read?: (text: string) => string }

/** Free text that is not empty, nor blank; `read` makes the value of it. */
export function text<T = string | undefined>(expected: string, { read, ...words }: Words & Read): Kind<T> {
  const parse = (input: unknown) => {
    if (typeof input === 'string' && input.trim() !== '') return (read?.(input) ?? input) as T
    const got = words.secret ? describeKind(input) : describeValue(input)
    const hint = typeof input === 'number' ? ': write it in quotes' : ''
    throw new UnitError(`expected ${expected}; got ${got}${hint}`)
  }
  return { text: 'text', schema: { type: 'string', minLength: 1 }, parse, ...words }
}

/** The path of a file or folder, absolute in code. */
export function path<T = string | undefined>(expected: string, words: Words): Kind<T> {
  const read = (input: string) => {
    // A shell would have replaced it, if it had not been in quotes or in a file.
    if (!/^~(?:\/|$)/.test(input)) return input
    throw new UnitError(`expected ${expected}, in full: nobody replaces the "~" of ${describeValue(input)}`)
  }
  return text(expected, { ...words, path: true, read })
}

/** A list of texts; `each` says what an item should be. */
export function list<T = readonly string[] | undefined>(
  expected: string,
  { each, read, ...words }: Words & { each: string; read: (text: string) => string },
): Kind<T> {
  return {
    schema: { type: ['array', 'null'], items: { type: 'string' } },
    parse: (input) => (Array.isArray(input) ? (input as T) : refuse(expected, input)),
    item: (input) => (typeof input === 'string' ? read(input) : refuse(each, input)),
    ...words,
  }
}

/** One address or a list of them, read one by one. */
export function listenAddresses(standard: string, words: Words): Kind<readonly ListenAddress[]> {
  const expected = 'an address such as ":5000", or a list of them'
  const items = { type: ['string', 'number'] }
  return {
    default: standard,
    text: 'text',
    schema: { anyOf: [{ type: 'string' }, { type: 'number' }, { type: ['array', 'null'], items }] },
    parse: (input) => {
      if (!Array.isArray(input)) return [parseListenAddress(scalar(input, expected))]
      if (input.length === 0) throw new UnitError('expected at least one address')
      return input
    },
    item: (input) => parseListenAddress(scalar(input, expected)),
    show: ([first, ...more]) => {
      const shown = [first, ...more].map((address) => address && formatListenAddress(address))
      return more.length === 0 ? shown[0] : shown
    },
    ...words,
  }
}

/** A whole number. */
export function count(standard: number, [minimum, maximum]: Range, words: Words): Kind<number> {
  const parse = (input: unknown) => {
    const isGood = Number.isInteger(input) && Number(input) >= minimum && Number(input) <= maximum
    return isGood ? Number(input) : refuse(`a whole number from ${minimum} to ${maximum}`, input)
  }
  return {
    default: standard,
    schema: { anyOf: [{ type: 'integer', minimum, maximum }, reference] },
    parse,
    ...words,
  }
}

/** Yes or no; `on` and `off` mean the same. */
export function flag(standard: boolean, words: Words): Kind<boolean> {
  const parse = (input: unknown) => {
    if (input === 'on' || input === 'off') return input === 'on'
    return typeof input === 'boolean' ? input : refuse('true or false', input)
  }
  return {
    default: standard,
    schema: { anyOf: [{ type: 'boolean' }, { enum: ['on', 'off'] }, reference] },
    parse,
    ...words,
  }
}

/** One of a few words. */
export function choice<const W extends string, const S extends W | undefined>(
  standard: S,
  choices: readonly W[],
  words: Words,
): Kind<W | (undefined extends S ? undefined : never)> {
  const oneOf = `one of ${choices.join(', ')}`
  const parse = (input: unknown) => {
    const word = choices.find((known) => known === input)
    if (word !== undefined) return word
    const near = typeof input === 'string' ? suggest(input, choices) : undefined
    return refuse(oneOf, input, near && `: did you mean "${near}"?`)
  }
  const schema = { anyOf: [{ type: 'string', enum: choices }, reference] }
  return { text: 'text', default: standard, schema, parse, ...words }
}

/** In a notation of units; `special` are words that stand for a value. */
export function unit<T, S extends T | string = T>(
  notation: Notation<T>,
  standard: string,
  { special, ...words }: Words & { special?: Readonly<Record<string, S>> },
): Kind<T | S> {
  const specials = Object.entries(special ?? {})
  const wordPattern = specials.length === 0 ? '' : `^(${specials.map(([word]) => word).join('|')})$|`
  return {
    default: standard,
    schema: { pattern: `${wordPattern}${notation.pattern}|\\$\\{`, type: ['string', 'number'] },
    parse: (input) => {
      const written = scalar(input, notation.expected)
      const found = specials.find(([word]) => word === String(written).trim().toLowerCase())
      return found ? found[1] : notation.parse(written)
    },
    show: (value) => specials.find(([, one]) => one === value)?.[0] ?? notation.format(value as T),
    ...words,
  }
}

/** A duration; milliseconds in code. */
export function duration(
  standard: string,
  [from, to]: Range,
  words: Words & { special?: Readonly<Record<string, number>> },
): Kind<number> {
  const range = `${durations.format(from)} to ${to === Number.MAX_SAFE_INTEGER ? 'more' : durations.format(to)}`
  const parse = (input: string | number) => {
    const milliseconds = durations.parse(input)
    const isGood = milliseconds >= from && milliseconds <= to
    return isGood ? milliseconds : refuse(`a duration from ${range}`, input)
  }
  return unit({ ...durations, parse }, standard, words)
}

/** Bytes a second; undefined for no limit. */
export function rate(standard: string, words: Words): Kind<number | undefined> {
  const { schema, parse, ...kind } = unit(rates, standard, words)
  const anyOf = [{ type: 'string' }, { type: 'number' }, { type: 'boolean', const: false }]
  return {
    ...kind,
    schema: { anyOf, pattern: schema.pattern },
    parse: (input) => (input === false ? undefined : parse(input)),
  }
}

/**
 * Whether to finish what was begun, as a share of it: as much has to be there to go on. 0 for `always`, Infinity for
 * `never`, 0.5 for `started: 50%`, which is a map or one text.
 */
export function finish(standard: string, words: Words): Kind<number> {
  const expected = 'always, never or a share such as "started: 50%"'
  const share = `${shares.pattern}|\\$\\{`
  const map = {
    type: 'object',
    properties: { started: { type: 'string', pattern: share } },
    required: ['started'],
    additionalProperties: false,
  }
  const texts = `^always$|^never$|^started: *${shares.pattern.slice(1)}|\\$\\{`
  return {
    default: standard,
    schema: { anyOf: [{ type: 'string', pattern: texts }, map] },
    parse: (input) => {
      if (input === 'always') return 0
      if (input === 'never') return Number.POSITIVE_INFINITY
      const [, ofText] = typeof input === 'string' ? (/^started:(.*)$/.exec(input) ?? []) : []
      const isStarted = isMap(input) && Object.keys(input).join() === 'started'
      const started = isStarted ? input.started : ofText
      // Of a variable that could not be had.
      if (started instanceof UnitError) throw started
      if (typeof started !== 'string') return refuse(expected, input)
      return shares.parse(started).percent / 100
    },
    show: (value) => {
      if (value === 0) return 'always'
      return value === Number.POSITIVE_INFINITY
        ? 'never'
        : `started: ${shares.format({ percent: value * 100 })}`
    },
    ...words,
  }
}

/** A text or a number. */
function scalar(input: unknown, expected: string): string | number {
  if (typeof input === 'string' || (typeof input === 'number' && Number.isFinite(input))) return input
  return refuse(expected, input)
}

/** Names only the kind of a value, for secrets. */
function describeKind(value: unknown): string {
  if (value === '') return 'empty text'
  const kinds: Record<string, string> = { string: 'text', number: 'a number', boolean: 'a boolean' }
  return kinds[typeof value] ?? describeValue(value)
}
