import assert from 'node:assert/strict'
import { test } from 'node:test'
import { timeline } from '../../benchmarks/line/timeline.ts'
import { LineTrace, type Trace } from '../../benchmarks/support/line-trace.ts'

const hex = 'ab'.repeat(32)
const line = { bytesPerSecond: 1_000_000, roundTripMs: 100 }
const begun = 1_000_000

function show(trace: Partial<Trace>): string {
  const fetched = [{ what: `http://mirror/v2/library/app/blobs/sha256:${hex}`, moments: [0, 500, 1500] }]
  const moments = fetched.map(({ what, moments: [asked = 0, first = 0, last = 0] }) => ({
    what,
    moments: [begun + asked, begun + first, begun + last] as const,
  }))
  return timeline({ connections: [], slots: [], ...trace }, { startedAt: begun, fetched: moments, line })
}

test('a request over the line has its connection, its moments and its rate', () => {
  const request = {
    method: 'GET',
    path: `/registry-v2/docker/registry/v2/blobs/sha256/ab/${hex}/data`,
    range: 'bytes=0-99999',
    askedAt: begun + 1000,
    firstByteAt: begun + 1100,
    lastByteAt: begun + 2000,
    bytes: 100_000,
  }
  const before = { ...request, askedAt: begun - 500, firstByteAt: begun - 400, lastByteAt: begun - 300 }
  const text = show({
    connections: [
      { number: 1, openedAt: begun - 900, closedAt: begun - 1, listener: 'token', requests: [] },
      { number: 2, openedAt: begun - 800, closedAt: undefined, listener: 'cdn', requests: [before, request] },
    ],
  })
  assert.match(text, /^\| blobs ababab +\| +0\.00 \| +0\.50 \| +1\.50 \|$/m)
  assert.match(text, /^\| #2 cdn +\| +-0\.80 \| +\| +2 \|$/m)
  // Closed before the pull began.
  assert.doesNotMatch(text, /#1 token/)
  const row = /^\| GET blob ababab +\| (.*?) +\|$/m.exec(text)?.[1]?.split(/ *\| */)
  assert.deepEqual(row, ['bytes=0-99999', '#2 cdn', '1.30', '1.00', '1.10', '2.00', '100000', '0.8'])
})

test('how full the line was is told by the second, and once where it stays the same', () => {
  const slot = (at: number, bytes: number, ...connections: number[]) => ({
    at: begun + at,
    bytes,
    connections,
  })
  const full = (second: number) =>
    Array.from({ length: 10 }, (_, index) => slot(second * 1000 + index * 100, 99_000, 1, 2))
  const text = show({ slots: [...full(0), ...full(1), slot(2100, 500_000, 1)] })
  assert.match(text, /^\| 0-2 +\| +99 % \| +2 \| +0 \|$/m)
  assert.match(text, /^\| 2-3 +\| +50 % \| +1 \| +9 \|$/m)
})

test('what a listener gets is told as requests of the connection that it came over', () => {
  const trace = new LineTrace(200)
  trace.opened(1)
  trace.reached(1, 40_000)
  trace.received(1, 3000)
  trace.sent(
    40_000,
    'cdn',
    Buffer.from('GET /blob?Signature=x HTTP/1.1\r\nHost: a\r\nRange: bytes=5-9\r\n\r\n'),
  )
  trace.received(1, 400)
  trace.received(1, 5)
  trace.sent(40_001, 'cdn', Buffer.from('GET /other HTTP/1.1\r\n\r\n'))
  trace.closed(1)
  const { connections, slots } = trace.read()
  assert.equal(connections.length, 1)
  const [
    {
      listener,
      requests: [request],
      openedAt,
      closedAt = 0,
    },
  ] = connections as [(typeof connections)[number]]
  assert.equal(listener, 'cdn')
  assert.deepEqual(
    [request?.method, request?.path, request?.range, request?.bytes],
    ['GET', '/blob', 'bytes=5-9', 405],
  )
  assert.ok(closedAt >= openedAt)
  assert.equal(
    slots.reduce((sum, { bytes }) => sum + bytes, 0),
    3405,
  )
})
