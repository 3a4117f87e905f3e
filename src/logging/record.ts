import { format } from 'node:util'
import { levels } from 'pino'
import { Redactor, redactText, type Serializers } from './redact.ts'

export type LevelName = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace'

/** One event, free of secrets. */
export interface LogRecord {
  /** Milliseconds since the epoch. */
  readonly time: number
  readonly level: LevelName
  readonly message: string
  readonly error: LoggedError | undefined
  /** Everything else, as JSON values. */
  readonly fields: Readonly<Record<string, unknown>>
}

export interface LoggedError {
  readonly type: string
  readonly message: string
  readonly stack: string | undefined
  /** Other properties, such as `code`. */
  readonly rest: Readonly<Record<string, unknown>>
}

/** What a logger is called with: fields (or an error), a message, and values for its placeholders. */
export interface Call {
  readonly arguments: readonly unknown[]
  /** Pino's number of it. */
  readonly level: number
  /** Of a logger that somebody made of ours. */
  readonly bindings?: object | undefined
  readonly serializers?: Serializers
}

/** Makes records of what is logged. */
export class Recorder {
  readonly #redactor = new Redactor()

  record({ arguments: given, level, bindings, serializers = {} }: Call): LogRecord {
    const [first] = given
    const isObject = typeof first === 'object' && first !== null
    const words = isObject || first === undefined ? given.slice(1) : given
    const all: Record<string, unknown> = {}
    if (bindings) this.#redactor.copyFields(bindings, serializers, all)
    if (isObject) this.#redactor.copyFields(first instanceof Error ? { err: first } : first, serializers, all)
    const { error, msg, fields } = apart(all)
    const message = this.#textOf(words) ?? this.#textOf([msg]) ?? error?.message ?? ''
    return { time: Date.now(), level: levels.labels[level] as LevelName, message, error, fields }
  }

  /** The message with the values in the place of its placeholders, clean. */
  #textOf(words: readonly unknown[]): string | undefined {
    const [message] = words
    if (message === undefined) return undefined
    const isAlone = words.length === 1 && typeof message === 'string'
    return redactText(isAlone ? message : format(...words.map((word) => this.#redactor.copy(word))))
  }
}

/** What has a place of its own in every format is taken out of the fields, or its name is. */
function apart(all: Record<string, unknown>) {
  if (reserved.every((name) => all[name] === undefined))
    return { error: undefined, msg: undefined, fields: all }
  const { level, time, err, msg, ...fields } = all
  const error = errorFrom(err)
  if (level !== undefined) fields.level_ = level
  if (time !== undefined) fields.time_ = time
  if (error === undefined && err !== undefined) fields.err = err
  return { error, msg, fields }
}

const reserved = ['level', 'time', 'err', 'msg'] as const

function errorFrom(value: unknown): LoggedError | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const { type, message, stack, ...rest } = value as Record<string, unknown>
  if (typeof message !== 'string') return undefined
  return {
    type: String(type ?? 'Error'),
    message,
    stack: typeof stack === 'string' ? stack : undefined,
    rest,
  }
}
