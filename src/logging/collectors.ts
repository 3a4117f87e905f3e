import { isIP } from 'node:net'
import { toJsonLine } from './escape.ts'
import { pullEvent, type RequestEvent, requestEvent, subjectOf } from './known-events.ts'
import type { LevelName, LoggedError, LogRecord } from './record.ts'

/** As Logback has them, which Logstash's own encoder writes. */
const logbackLevels: Readonly<Record<LevelName, number>> = {
  trace: 5000,
  debug: 10_000,
  info: 20_000,
  warn: 30_000,
  error: 40_000,
  fatal: 40_000,
}

/**
 * The JSON event of Logstash, version 1, with the names that logstash-logback-encoder gives to events and to
 * requests (AccessEvent): `requested_uri`, `status_code`, `remote_host`, `content_length`, `elapsed_time` in ms.
 */
export function formatLogstash(record: LogRecord): string {
  const { time, level, error, fields } = record
  const request = requestEvent(record)
  const event: Record<string, unknown> = {
    '@timestamp': new Date(time).toISOString(),
    '@version': '1',
    message: messageOf(record, request),
    logger_name: 'larder',
    thread_name: 'main',
    level: level.toUpperCase(),
    level_value: logbackLevels[level],
    ...(request && logstashRequest(request)),
    ...(error && {
      stack_trace: error.stack ?? `${error.type}: ${error.message}`,
      error: { type: error.type, message: error.message, ...error.rest },
    }),
  }
  for (const key of Object.keys(fields)) {
    if (request && requestFields.has(key)) continue
    // What the format itself says wins; a field of that name is kept beside it.
    const value = fields[key]
    const isTaken = key in event || key.startsWith('@') || (key === 'tags' && !isListOfTexts(value))
    event[isTaken ? `${key}_` : key] = value
  }
  return toJsonLine(event)
}

function logstashRequest({ method, url, status, client, bytes, ms, agent }: RequestEvent): object {
  return {
    method,
    requested_uri: pathOf(url),
    requested_url: `${method} ${url}`,
    status_code: status,
    content_length: bytes,
    elapsed_time: ms,
    ...(client !== undefined && { remote_host: client }),
    ...(agent !== undefined && { user_agent: agent }),
  }
}

/** The fields of a request that have names of their own in the formats for collectors. */
const requestFields: ReadonlySet<string> = new Set([
  'method',
  'url',
  'status',
  'bytes',
  'ms',
  'client',
  'agent',
])

/** Those of a pull. */
const whoFields: ReadonlySet<string> = new Set(['ms', 'client', 'agent'])
const none: ReadonlySet<string> = new Set()

/**
 * The Elastic Common Schema: https://www.elastic.co/docs/reference/ecs. What has no name there stays under one key:
 * at the top it would clash with the types that ECS gives to its names.
 */
export function formatEcs(record: LogRecord): string {
  const { time, level, error, fields } = record
  const request = requestEvent(record)
  const who = request ?? pullEvent(record)
  const mapped = request ? requestFields : who ? whoFields : none
  const larder: Record<string, unknown> = {}
  for (const key of Object.keys(fields)) {
    const isMapped = mapped.has(key) || (key === 'error' && request?.error !== undefined)
    if (!isMapped) larder[key] = fields[key]
  }
  if (error && Object.keys(error.rest).length > 0) larder.error = error.rest
  return toJsonLine({
    '@timestamp': new Date(time).toISOString(),
    'log.level': level,
    message: messageOf(record, request),
    'ecs.version': '8.11.0',
    'service.name': 'larder',
    'log.logger': 'larder',
    ...(request && ecsRequest(request)),
    ...(who && ecsWho(who)),
    ...(error && ecsError(error)),
    ...(Object.keys(larder).length > 0 && { larder }),
  })
}

function ecsRequest({ method, url, status, bytes, ended, error }: RequestEvent): object {
  const mark = url.indexOf('?')
  return {
    'event.kind': 'event',
    'event.category': ['web'],
    'event.type': ['access'],
    'event.dataset': 'larder.access',
    'event.outcome':
      ended === 'left' ? 'unknown' : ended === 'complete' && status < 400 ? 'success' : 'failure',
    'http.request.method': method,
    'http.response.status_code': status,
    'http.response.body.bytes': bytes,
    'url.original': url,
    'url.path': pathOf(url),
    ...(mark >= 0 && { 'url.query': url.slice(mark + 1) }),
    ...(error !== undefined && { 'error.message': error }),
  }
}

function ecsWho({ client, agent, ms }: { client?: string; agent?: string; ms: number }): object {
  return {
    // Nanoseconds.
    'event.duration': Math.round(ms * 1e6),
    ...(client !== undefined && {
      'client.address': client,
      ...(isIP(client) !== 0 && { 'client.ip': client }),
    }),
    ...(agent !== undefined && { 'user_agent.original': agent }),
  }
}

function ecsError({ type, message, stack }: LoggedError): object {
  return {
    'error.type': type,
    'error.message': message,
    ...(stack !== undefined && { 'error.stack_trace': stack }),
  }
}

/** A list of lines shows the message alone: it should say what was asked for, or pulled. */
function messageOf(record: LogRecord, request: RequestEvent | undefined): string {
  if (request) return `${request.method} ${request.url} ${request.status}`
  const subject = pullEvent(record) && subjectOf(record.fields)
  return subject === undefined ? record.message : `${record.message} (${subject})`
}

function pathOf(url: string): string {
  const mark = url.indexOf('?')
  return mark < 0 ? url : url.slice(0, mark)
}

function isListOfTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
