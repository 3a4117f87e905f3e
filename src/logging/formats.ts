import { formatEcs, formatLogstash } from './collectors.ts'
import { escapeText, toJsonLine } from './escape.ts'
import { requestEvent } from './known-events.ts'
import { formatPair, formatPairs } from './pairs.ts'
import { createPrettyFormatter } from './pretty.ts'
import type { LoggedError, LogRecord } from './record.ts'
import { shortAgent } from './short-agent.ts'

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
  const { time, level, message, error, fields } = record
  const isRequest = requestEvent(record) !== undefined
  let pairs = ''
  for (const key of Object.keys(fields)) {
    if (!(isRequest && saidOtherwise.has(key))) pairs += formatPair(key, textValue(key, fields[key]))
  }
  if (isRequest && fields.ended !== 'complete') pairs += formatPair('ended', fields.ended)
  if (error) pairs += formatPairs({ err: flatError(error) })
  return `${iso(time)} ${level.toUpperCase().padEnd(5)} ${escapeText(message)}${pairs}\n`
}

/** What the URL of a request says as well, and how it ended: at the end of the line, where that is not as it should. */
const saidOtherwise: ReadonlySet<string> = new Set(['kind', 'upstream', 'repository', 'reference', 'ended'])

/** A line for people: the program of a User-Agent is enough. */
function textValue(key: string, value: unknown): unknown {
  return key === 'agent' && typeof value === 'string' ? shortAgent(value) : value
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
