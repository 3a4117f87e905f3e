import { formatEcs, formatLogstash } from './collectors.ts'
import { escapeText, toJsonLine } from './escape.ts'
import { shortAgent } from './human.ts'
import { requestEvent } from './known-events.ts'
import { formatPairs } from './pairs.ts'
import { createPrettyFormatter } from './pretty.ts'
import type { LoggedError, LogRecord } from './record.ts'

/** How events are written; `auto` is decided before. */
export type LineFormat = 'pretty' | 'text' | 'json' | 'logstash' | 'ecs'

/** Turns a record into what is written, with a newline at its end. */
export type Formatter = (record: LogRecord) => string

/** The formatter for a format. Every one writes one line for an event; `pretty` adds the stack of an error below. */
export function createFormatter(format: LineFormat, options: { colors: boolean }): Formatter {
  if (format === 'pretty') return createPrettyFormatter(options.colors)
  return { text: formatText, json: formatJson, logstash: formatLogstash, ecs: formatEcs }[format]
}

/** `2026-01-31T12:00:00.000Z INFO  message key=value other="two words"`. */
function formatText(record: LogRecord): string {
  const { time, level, message, error } = record
  const pairs = formatPairs(textFields(record)) + (error ? formatPairs({ err: flatError(error) }) : '')
  return `${iso(time)} ${level.toUpperCase().padEnd(5)} ${escapeText(message)}${pairs}\n`
}

/** A line for people: the program of a User-Agent is enough, and nothing is said that the URL says. */
function textFields(record: LogRecord): LogRecord['fields'] {
  const { fields } = record
  const short = typeof fields.agent === 'string' ? { ...fields, agent: shortAgent(fields.agent) } : fields
  if (!requestEvent(record)) return short
  const { kind, upstream, repository, reference, ended, ...rest } = short
  return ended === 'complete' ? rest : { ...rest, ended }
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

function flatError({ type, message, stack, rest }: LoggedError): Record<string, unknown> {
  return { type, message, ...(stack !== undefined && { stack }), ...rest }
}

function iso(time: number): string {
  return new Date(time).toISOString()
}
