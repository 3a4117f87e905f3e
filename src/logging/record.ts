import { redactText, redactValue } from './redact.ts'

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

const levelNames: Readonly<Record<number, LevelName>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
}

/** Turns a line of pino into a record. A line that cannot be read becomes the message, cleaned like any other. */
export function parseRecord(line: string): LogRecord {
  // Level and time of pino's own stand first; a field of the same name would win in JSON.parse.
  const [, levelNumber = '30', time] = /^\{"level":(\d+),"time":(\d+)/.exec(line) ?? []
  const level = levelNames[Number(levelNumber)] ?? 'info'
  const base = { time: time === undefined ? Date.now() : Number(time), level }
  let parsed: unknown
  try {
    parsed = redactValue(JSON.parse(line))
  } catch {
    return { ...base, message: redactText(line.trimEnd()), error: undefined, fields: {} }
  }
  const { level: otherLevel, time: otherTime, msg, err, ...fields } = parsed as Record<string, unknown>
  if (otherLevel !== Number(levelNumber)) fields.level_ = otherLevel
  if (otherTime !== base.time) fields.time_ = otherTime
  const error = errorFrom(err)
  if (error === undefined && err !== undefined) fields.err = err
  const message =
    typeof msg === 'string' ? msg : msg === undefined ? (error?.message ?? '') : JSON.stringify(msg)
  return { ...base, message, error, fields }
}

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
