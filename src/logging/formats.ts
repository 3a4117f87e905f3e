import { prettyFactory } from 'pino-pretty'
import { escapeLines, escapeText, toJsonLine } from './escape.ts'
import type { LoggedError, LogRecord } from './record.ts'

/** How events are written; `auto` is decided before. */
export type LineFormat = 'pretty' | 'text' | 'json' | 'logstash' | 'ecs'

/** Turns a record into what is written, with a newline at its end. */
export type Formatter = (record: LogRecord) => string

const levelNumbers = { trace: 10, debug: 20, info: 30, warn: 40, error: 50, fatal: 60 } as const

/** The formatter for a format. All but `pretty` write exactly one line for an event. */
export function createFormatter(format: LineFormat, options: { colors: boolean }): Formatter {
  if (format === 'pretty') return createPrettyFormatter(options.colors)
  return { text: formatText, json: formatJson, logstash: formatLogstash, ecs: formatEcs }[format]
}

function createPrettyFormatter(colorize: boolean): Formatter {
  const prettify = prettyFactory({ colorize, translateTime: 'SYS:HH:MM:ss.l', errorLikeObjectKeys: ['err'] })
  return ({ time, level, message, error, fields }) => {
    const err = error && { err: flatError(error) }
    // The message keeps to its line, so that nobody can forge an event; stacks keep theirs.
    const rest = escapeAll({ ...fields, ...err }) as Record<string, unknown>
    return prettify({ ...rest, level: levelNumbers[level], time, msg: escapeText(message) })
  }
}

/** `2026-01-31T12:00:00.000Z INFO  message key=value other="two words"`. */
function formatText({ time, level, message, error, fields }: LogRecord): string {
  const pairs = [...flatten(fields, ''), ...(error ? flatten(flatError(error), 'err') : [])]
  const text = pairs.map(([key, value]) => ` ${textKey(key)}=${textValue(value)}`).join('')
  return `${iso(time)} ${level.toUpperCase().padEnd(5)} ${escapeText(message)}${text}\n`
}

function formatJson({ time, level, message, error, fields }: LogRecord): string {
  return toJsonLine({
    level,
    time: iso(time),
    ...fields,
    ...(error && { err: flatError(error) }),
    msg: message,
  })
}

function formatLogstash({ time, level, message, error, fields }: LogRecord): string {
  const own = {
    '@timestamp': iso(time),
    '@version': '1',
    level: level.toUpperCase(),
    logger_name: 'larder',
    message,
    ...(error && {
      stack_trace: error.stack ?? `${error.type}: ${error.message}`,
      error: flatError(error, false),
    }),
  }
  // What the format itself says wins; a field of that name is kept beside it.
  const rest = Object.entries(fields).map(([key, value]) => [key in own ? `${key}_` : key, value])
  return toJsonLine({ ...own, ...Object.fromEntries(rest) })
}

function formatEcs({ time, level, message, error, fields }: LogRecord): string {
  // Fields of our own stay under one key: at the top they would clash with the types that ECS gives to its names.
  const larder = { ...fields, ...(error && Object.keys(error.rest).length > 0 ? { error: error.rest } : {}) }
  return toJsonLine({
    '@timestamp': iso(time),
    'log.level': level,
    message,
    'ecs.version': '8.11.0',
    'service.name': 'larder',
    ...(error && {
      'error.type': error.type,
      'error.message': error.message,
      ...(error.stack !== undefined && { 'error.stack_trace': error.stack }),
    }),
    ...(Object.keys(larder).length > 0 && { larder }),
  })
}

function flatError({ type, message, stack, rest }: LoggedError, withStack = true): Record<string, unknown> {
  return { type, message, ...(withStack && stack !== undefined && { stack }), ...rest }
}

function iso(time: number): string {
  return new Date(time).toISOString()
}

function* flatten(value: unknown, path: string): Generator<[string, unknown]> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    yield [path, value]
    return
  }
  for (const [key, below] of Object.entries(value))
    yield* flatten(below, path === '' ? key : `${path}.${key}`)
}

function textKey(key: string): string {
  return escapeText(key).replaceAll(/[\s="\\]/g, '_')
}

function textValue(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  if (/^[\w.,:;/@%+*()[\]{}<>!?&#|~^$-]+$/.test(text)) return text
  return `"${escapeText(text.replaceAll(/["\\]/g, '\\$&'))}"`
}

function escapeAll(value: unknown): unknown {
  if (typeof value === 'string') return escapeLines(value)
  if (Array.isArray(value)) return value.map(escapeAll)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, below]) => [escapeText(key), escapeAll(below)]))
}
