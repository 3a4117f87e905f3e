import { slotMs, type Trace, type TracedConnection } from '../support/line-trace.ts'
import { markdown, type Table } from '../support/table.ts'
import type { Line } from './rows.ts'

/** Something that the client asked for: milliseconds since the epoch. */
export interface Fetched {
  readonly what: string
  readonly moments: readonly [asked: number, first: number, last: number]
}

/**
 * What happened while an image was pulled, from its start on: what the client waited for, what was asked of the upstream
 * over which connection, and how full the line was. Seconds since the start.
 */
export function timeline(
  { connections, slots }: Trace,
  { startedAt, fetched, line }: { startedAt: number; fetched: readonly Fetched[]; line: Line },
): string {
  const seconds = (at: number | undefined): string =>
    at === undefined ? '' : ((at - startedAt) / 1000).toFixed(2)
  const alive = connections.filter(({ closedAt }) => closedAt === undefined || closedAt >= startedAt)
  const client: Table = {
    head: ['the client', 'asked', 'first byte', 'last byte'],
    rows: fetched.map(({ what, moments }) => [shortly(what), ...moments.map(seconds)]),
    notes: [],
  }
  const opened: Table = {
    head: ['connection', 'opened', 'closed', 'requests'],
    rows: alive.map(({ number, listener, openedAt, closedAt, requests }) => [
      `#${number} ${listener}`,
      ...[seconds(openedAt), seconds(closedAt), String(requests.length)],
    ]),
    notes: [],
  }
  const requests: Table = {
    head: [
      'request',
      'range',
      'connection',
      'idle before',
      'asked',
      'first byte',
      'last byte',
      'bytes',
      'Mbit/s',
    ],
    rows: alive
      .flatMap(rowsOf)
      .filter(({ askedAt }) => askedAt >= startedAt - 1)
      .toSorted((one, other) => one.askedAt - other.askedAt)
      .map(({ cells: [what, range, connection], idleMs, askedAt, firstByteAt, lastByteAt, bytes }) => [
        ...[what, range, connection, (idleMs / 1000).toFixed(2)],
        ...[askedAt, firstByteAt, lastByteAt].map(seconds),
        String(bytes),
        ((bytes * 8) / 1000 / Math.max(1, (lastByteAt ?? Number.NaN) - askedAt)).toFixed(1),
      ]),
    notes: [],
  }
  return [
    markdown(client),
    markdown(opened),
    markdown(requests, 2),
    markdown(usage(slots, startedAt, line)),
  ].join('\n\n')
}

interface RequestRow {
  readonly cells: readonly [what: string, range: string, connection: string]
  /** Since the connection was opened, or the last byte came over it. */
  readonly idleMs: number
  readonly askedAt: number
  readonly firstByteAt: number | undefined
  readonly lastByteAt: number | undefined
  readonly bytes: number
}

function rowsOf({ number, listener, openedAt, requests }: TracedConnection): RequestRow[] {
  return requests.map(({ method, path, range = '', ...request }, index) => ({
    ...request,
    cells: [`${method} ${shortly(path)}`, range, `#${number} ${listener}`],
    idleMs: request.askedAt - (index === 0 ? openedAt : (requests[index - 1]?.lastByteAt ?? Number.NaN)),
  }))
}

interface Usage {
  readonly from: number
  /** Exclusive. */
  to: number
  /** Of what the line can carry. */
  readonly share: number
  readonly connections: number
  /** Slots without a byte. */
  readonly pauses: number
}

/** How full the line was, second by second; seconds that are much the same are told together. */
function usage(slots: Trace['slots'], startedAt: number, { bytesPerSecond }: Line): Table {
  const since = slots.filter(({ at }) => at >= startedAt - slotMs)
  const seconds = Map.groupBy(since, ({ at }) => Math.max(0, Math.floor((at - startedAt) / 1000)))
  const spans: Usage[] = []
  for (const [second, all] of seconds) {
    const next: Usage = {
      from: second,
      to: second + 1,
      share: all.reduce((sum, { bytes }) => sum + bytes, 0) / bytesPerSecond,
      connections: new Set(all.flatMap((slot) => slot.connections)).size,
      pauses: Math.max(0, 1000 / slotMs - all.length),
    }
    const last = spans.at(-1)
    if (last && last.to === second && isMuchTheSame(last, next)) last.to = next.to
    else spans.push(next)
  }
  return {
    head: ['seconds', 'share of the line', 'connections with bytes', 'pauses of 0.1 s'],
    rows: spans.map(({ from, to, share, connections, pauses }) => [
      `${from}-${to}`,
      `${Math.round(share * 100)} %`,
      ...[connections, pauses].map(String),
    ]),
    notes: [],
  }
}

function isMuchTheSame(one: Usage, other: Usage): boolean {
  const isAsFull = Math.abs(one.share - other.share) <= 0.05
  return isAsFull && one.connections === other.connections && one.pauses === other.pauses
}

/** The last parts of a path, and of a digest no more than tells it from others. */
function shortly(url: string): string {
  return url
    .replace(/^https?:\/\/[^/]+/, '')
    .replace(/^\/registry-v2\/.*\/([0-9a-f]{64})\/data$/, 'blob $1')
    .replace(/^\/v2\/.*\/(manifests|blobs)\/(sha256:)?/, '$1 ')
    .replace(/([0-9a-f]{6})[0-9a-f]{58}/, '$1')
}
