import { humanBytes, humanDuration } from '../units/human.ts'
import { escapeLines, escapeText } from './escape.ts'
import {
  type FetchEvent,
  fetchEvent,
  type PullEvent,
  pullEvent,
  type RequestEvent,
  requestEvent,
  subjectOf,
} from './known-events.ts'
import { formatPairs } from './pairs.ts'
import type { LevelName, LogRecord } from './record.ts'
import { shortAgent } from './short-agent.ts'

type Color = 'red' | 'green' | 'yellow' | 'blue' | 'cyan' | 'dim' | 'plain'
type Paint = (color: Color, text: string) => string

const codes: Readonly<Record<Color, number>> = {
  red: 31,
  green: 32,
  yellow: 33,
  blue: 34,
  cyan: 36,
  dim: 2,
  plain: 0,
}
const colorOfLevel: Readonly<Record<LevelName, Color>> = {
  fatal: 'red',
  error: 'red',
  warn: 'yellow',
  info: 'green',
  debug: 'blue',
  trace: 'dim',
}
const longestUrl = 100
const longestCacheStatus = 'revalidated'.length

/**
 * For people: `[12:00:00.000] INFO  GET  200 library/nginx:1.25  hit  1.2 kB  3 ms  192.168.1.31`. One line an event,
 * and the stack of an error below it.
 */
export function createPrettyFormatter(colors: boolean): (record: LogRecord) => string {
  const paint: Paint = colors ? (color, text) => `\u001b[${codes[color]}m${text}\u001b[0m` : (_, text) => text
  return (record) => {
    const { time, level, error } = record
    const name = paint(colorOfLevel[level], level.toUpperCase().padEnd(5))
    return `${paint('dim', `[${clock(time)}]`)} ${name} ${formatBody(record, paint)}${error ? stackOf(error) : ''}\n`
  }
}

function formatBody(record: LogRecord, paint: Paint): string {
  const request = requestEvent(record)
  if (request) return formatRequest(request, subjectOf(record.fields), record, paint)
  const subject = escapeText(subjectOf(record.fields) ?? '')
  const pulled = pullEvent(record)
  if (pulled) return formatPull(pulled, subject, record, paint)
  const fetched = fetchEvent(record)
  if (fetched) return formatFetch(fetched, subject, paint)
  const { message, fields, error } = record
  const isNews = error !== undefined && error.message !== message
  const rest = isNews ? { ...fields, err: error.message, ...error.rest } : { ...fields, ...error?.rest }
  // The message keeps to its line, so that nobody can forge an event.
  return `${escapeText(message)}${paint('dim', formatPairs(rest))}`
}

function formatRequest(
  request: RequestEvent,
  subject: string | undefined,
  { error }: LogRecord,
  paint: Paint,
): string {
  const { method, url, status, cache = '', bytes, ms, client = '', ended } = request
  const what = escapeText(subject ?? (url.length > longestUrl ? `${url.slice(0, longestUrl)}…` : url))
  const trouble = request.error ?? error?.message
  const columns = [
    escapeText(method).padEnd(4),
    paint(status >= 500 ? 'red' : status >= 400 ? 'yellow' : 'green', String(status)),
    what.padEnd(40),
    paint(cache === 'miss' ? 'yellow' : 'cyan', escapeText(cache).padEnd(longestCacheStatus)),
    humanBytes(bytes).padStart(7),
    humanDuration(ms).padStart(7),
    ` ${escapeText(client)}`,
    ...(ended === 'complete' ? [] : [paint('yellow', escapeText(String(ended)))]),
    ...(trouble === undefined ? [] : [escapeText(trouble)]),
  ]
  return columns.join(' ')
}

function formatPull(pull: PullEvent, subject: string, { message }: LogRecord, paint: Paint): string {
  const { bytes, cachedBytes, joinedBytes, lineBytes, ms, client, agent, outcome } = pull
  const parts = [
    [cachedBytes, 'from the cache'],
    [joinedBytes, "with another's download"],
    [lineBytes, 'over the line'],
  ] as const
  const told = parts.filter(([count]) => count > 0).map(([count, where]) => `${humanBytes(count)} ${where}`)
  const [only] = told.length === 1 ? parts.filter(([count]) => count > 0) : []
  const from = only ? `, all ${only[1]}` : told.length > 0 ? `: ${told.join(', ')}` : ''
  const who = paint(
    'dim',
    `${escapeText(client)}${agent === undefined ? '' : ` ${escapeText(shortAgent(agent))}`}`,
  )
  const what = paint(outcome === 'finished' ? 'green' : 'yellow', escapeText(message.replace(/^pull /, '')))
  const head = outcome === 'finished' ? `${what} ${subject}` : `${subject} ${what}`
  return `${head}  ${humanBytes(bytes)} in ${humanDuration(ms)}${from}  ${who}`
}

function formatFetch(fetched: FetchEvent, subject: string, paint: Paint): string {
  const { upstream, bytes, keptBytes, resumes, bytesPerSecond, ms } = fetched
  const kept = keptBytes > 0 ? `, ${humanBytes(keptBytes)} were here` : ''
  const resumed = resumes > 0 ? `, resumed ${resumes} ${resumes === 1 ? 'time' : 'times'}` : ''
  const pace = `${humanBytes(bytes)} in ${humanDuration(ms)}, ${humanBytes(bytesPerSecond)}/s`
  return `${paint('green', 'fetched')} ${subject}  ${pace}${kept}${resumed}  ${paint('dim', `from ${escapeText(upstream)}`)}`
}

/** The stack without its first lines, which say the message again; stacks keep their lines. */
function stackOf({ stack }: NonNullable<LogRecord['error']>): string {
  if (stack === undefined) return ''
  return `\n    ${escapeLines(stack).replaceAll('\n', '\n    ')}`
}

/** Local time of day. */
function clock(time: number): string {
  const at = new Date(time)
  const two = (value: number): string => String(value).padStart(2, '0')
  const ms = String(at.getMilliseconds()).padStart(3, '0')
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${ms}`
}
