import * as z from 'zod'
import { describeKind, describeValue } from './describe-value.ts'
import { suggest } from './suggestion.ts'
import {
  formatDuration,
  formatRate,
  formatSize,
  type Percentage,
  parseDuration,
  parseRate,
  parseSize,
  parseSizeOrPercentage,
  UnitError,
} from './units.ts'

/** What the loader, the table of settings and the JSON Schema know of a leaf beyond its zod type. */
export interface SettingType {
  /** How text from the environment becomes a value: text as it is, or YAML where that yields the right kind. */
  readonly text: 'verbatim' | 'text' | 'yaml'
  /** Never shown and never repeated in a message. */
  readonly secret: boolean
  /** A file or folder: a relative one belongs to the folder of the file that names it. */
  readonly path: boolean
  /** What the value waits for in this version, where it is checked but has no effect yet. */
  readonly reserved: string | undefined
  /** Why a reserved setting must not have this value: somebody would rely on a protection that is not there. */
  readonly unprotected: (value: unknown) => string | undefined
  /** A regular expression for the text forms, for editors. */
  readonly pattern: string | undefined
  /** Turns a value in code back into the form of the file. */
  show(value: unknown): unknown
}

/** The leaves of the schema with their type. Filled while the schema is built, constant afterwards. */
export const settingTypes = z.registry<SettingType, z.ZodType>()

interface Words {
  readonly description: string
  readonly examples?: readonly (string | number)[]
  readonly reserved?: string
}

const number = String.raw`\d+(\.\d+)?`
const durationPattern = `^(?=.)(${['w', 'd', 'h', 'm', 's', 'ms'].map((unit) => `(${number}${unit})?`).join('')}|${number})$`
const sizePattern = `^${number}( ?([kKmMgGtT][iI]?)?[bB])?$`
const ratePattern = `^(off|${number}( ?([kKMGT]i?)?(B|bit)/s)?)$`

/** Makes a schema a setting: gives it its words for people and its type for the loader. */
export function setting<S extends z.ZodType>(schema: S, words: Words, type: Partial<SettingType> = {}): S {
  const { examples, reserved } = words
  const description =
    reserved === undefined
      ? words.description
      : `${words.description} (Reserved: takes effect with ${reserved}.)`
  const described = schema.meta(examples ? { description, examples: [...examples] } : { description })
  settingTypes.add(described, {
    text: 'yaml',
    secret: false,
    path: false,
    reserved,
    unprotected: () => undefined,
    pattern: undefined,
    show: (value) => value,
    ...type,
  })
  return described
}

/** Free text that is not empty, nor blank. */
export function text(expected: string, kind: { secret?: boolean } = {}) {
  const describe = kind.secret ? describeKind : describeValue
  const error = (issue: { input?: unknown }) =>
    `expected ${expected}; got ${describe(issue.input)}${typeof issue.input === 'number' ? ': write it in quotes' : ''}`
  return z
    .string({ error })
    .min(1, { error, abort: true })
    .refine((value) => value.trim() !== '', { error })
}

/** The path of a file or folder, made absolute where `isOwnPath` says so. */
export function path(expected: string) {
  return text(expected).refine((value) => !fromHome.test(value), {
    error: ({ input }) => `expected ${expected}, in full: nobody replaces the "~" of ${describeValue(input)}`,
  })
}

/** Whether a relative path belongs to a folder; others are the schema's to refuse, as they were written. */
export function isOwnPath(value: string): boolean {
  return value.trim() !== '' && !fromHome.test(value)
}

/** What a shell would have replaced, if it had not been in quotes or in a file. */
const fromHome = /^~(?:\/|$)/

/** A whole number between two bounds. */
export function count(minimum: number, maximum: number) {
  const error = (issue: { input?: unknown }) =>
    `expected a whole number from ${minimum} to ${maximum}; got ${describeValue(issue.input)}`
  return z.int({ error }).min(minimum, { error }).max(maximum, { error })
}

/** Words that a later version will take, and what holds until then. */
interface Coming {
  readonly coming: readonly string[]
  readonly meanwhile: string
}

/** One of a few words. */
export function choice<const W extends readonly [string, ...string[]]>(words: W, later?: Coming) {
  return z.enum(words, {
    error: ({ input }) => {
      if (later?.coming.includes(String(input))) {
        return `${describeValue(input)} is not there yet, ${later.meanwhile}: expected one of ${words.join(', ')}`
      }
      const near = typeof input === 'string' ? suggest(input, words) : undefined
      const hint = near === undefined ? '' : `: did you mean "${near}"?`
      return `expected one of ${words.join(', ')}; got ${describeValue(input)}${hint}`
    },
  })
}

interface DurationOptions extends Words {
  readonly default: string
  /** Milliseconds. */
  readonly minimum?: number
  /** Milliseconds. Timers take no more than 2^31. */
  readonly maximum?: number
  /** Words that stand for a number of milliseconds. */
  readonly words?: Readonly<Record<string, number>>
}

/** A duration; milliseconds in code. */
export function duration(options: DurationOptions) {
  const { minimum = 0, maximum = Number.MAX_SAFE_INTEGER, words = {} } = options
  const schema = scalar('a duration such as 6h').transform((input, context) =>
    convert(context, () => {
      const word = typeof input === 'string' ? words[input.trim().toLowerCase()] : undefined
      if (word !== undefined) return word
      const milliseconds = parseDuration(input)
      if (milliseconds >= minimum && milliseconds <= maximum) return milliseconds
      const upper = maximum === Number.MAX_SAFE_INTEGER ? 'more' : formatDuration(maximum)
      throw new UnitError(
        `expected a duration from ${formatDuration(minimum)} to ${upper}; got ${describeValue(input)}`,
      )
    }),
  )
  const names = Object.keys(words)
  return setting(schema.prefault(options.default), options, {
    pattern: names.length === 0 ? durationPattern : `^(${names.join('|')})$|${durationPattern}`,
    show: (value) => names.find((name) => words[name] === value) ?? formatDuration(Number(value)),
  })
}

/** A number of bytes. */
export function size(options: Words & { default: string }) {
  const schema = scalar('a size such as 50GB or 512MiB').transform((input, context) =>
    convert(context, () => parseSize(input)),
  )
  return setting(schema.prefault(options.default), options, {
    pattern: sizePattern,
    show: (value) => formatSize(Number(value)),
  })
}

/** `auto`, a number of bytes or a share of the disk. */
export function sizeOrShare(options: Words & { default: string }) {
  const schema = scalar('a size such as 50GB or 80%, or auto').transform((input, context) =>
    convert(context, (): number | Percentage | 'auto' => {
      if (typeof input === 'string' && input.trim().toLowerCase() === 'auto') return 'auto'
      return parseSizeOrPercentage(input)
    }),
  )
  return setting(schema.prefault(options.default), options, {
    pattern: `^auto$|^${number} ?%$|${sizePattern}`,
    show: (value) => (typeof value === 'number' ? formatSize(value) : showShare(value)),
  })
}

/** Bytes a second; undefined for no limit. */
export function rate(options: Words & { default: string }) {
  const schema = z
    .union([z.string(), z.number(), z.literal(false)], { error: expected('a rate such as 10MB/s, or off') })
    .transform((input, context) => convert(context, () => parseRate(input)))
  return setting(schema.prefault(options.default), options, {
    pattern: ratePattern,
    show: (value) => formatRate(value as number | undefined),
  })
}

/** Runs a parser of units inside a transform and turns its UnitError into an issue at `path`. */
export function convert<T>(context: z.RefinementCtx, parse: () => T, path: PropertyKey[] = []): T {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof UnitError)) throw error
    context.addIssue({ code: 'custom', message: error.message, path })
    return z.NEVER
  }
}

/** The zod error for a value of the wrong kind. */
export function expected(what: string) {
  return ({ input }: { input?: unknown }) => `expected ${what}; got ${describeValue(input)}`
}

function scalar(what: string) {
  return z.union([z.string(), z.number()], { error: expected(what) })
}

function showShare(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'percent' in value ? `${value.percent}%` : value
}
