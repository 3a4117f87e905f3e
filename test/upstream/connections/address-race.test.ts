import assert from 'node:assert/strict'
import type { LookupAddress } from 'node:dns'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, isIPv6, type Server, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { raceAddresses } from '../../../src/upstream/connections/address-race.ts'
import { Pauses } from '../../support/pauses.ts'
import { until } from '../../support/settle.ts'
import { collect, failsWith, transportTo } from '../fixtures.ts'
import { slowDoors } from './slow-doors.ts'
import { stubNames } from './stub-names.ts'

// Neighbours: one address, many, of one family and of two; a handshake of a second; an address that drops what is
// sent to it, one that refuses, one without a route, first and last and in the middle; all of them dead, in one way and
// in several; a name without an address; whoever waits leaves; nothing stays open behind the winner.

/** An address of nobody, to which this machine has no route (RFC 3849) or nothing comes back from. */
const nowhere = '2001:db8::1'

type Race = { readonly sockets: Socket[]; readonly result: Promise<Socket>; stop(): void }

function race(t: TestContext, port: number, addresses: readonly string[], timeoutMs = 5000): Race {
  const sockets: Socket[] = []
  const stopped = new AbortController()
  const found: LookupAddress[] = addresses.map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }))
  const open = (host: string): Socket => {
    const socket = connect({ host, port })
    // The door may reset whom it has let in, after the race.
    socket.on('error', () => {})
    sockets.push(socket)
    return socket
  }
  t.after(() => {
    for (const socket of sockets) socket.destroy()
  })
  const result = raceAddresses(found, { port, open, timeoutMs, signal: stopped.signal })
  return { sockets, result, stop: () => stopped.abort(new Error('gone')) }
}

async function serverAt(t: TestContext, host: string, port = 0): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => socket.on('error', () => {}))
  server.listen({ host, port })
  await once(server, 'listening')
  t.after(() => server.close())
  return { server, port: (server.address() as AddressInfo).port }
}

/** Milliseconds of one plain handshake that begins now: what holds this process up makes it longer as well. */
async function handshakeMs(t: TestContext, host: string, port: number): Promise<number> {
  const socket = connect({ host, port })
  socket.on('error', () => {})
  t.after(() => socket.destroy())
  return (await timed(once(socket, 'connect'))).ms
}

/** `ms` that it took, of which this process could not run for `lostMs`: it sees only afterwards what came meanwhile. */
async function timed<Value>(work: Promise<Value>): Promise<{ value: Value; ms: number; lostMs: number }> {
  using pauses = new Pauses()
  const began = performance.now()
  const value = await work
  return { value, ms: performance.now() - began, lostMs: pauses.totalSince(began) }
}

test('a line whose handshake takes a second: the first connection succeeds', async (t) => {
  const doors = await slowDoors(t, ['127.0.0.1'])
  stubNames(t, () => ['127.0.0.1', nowhere])
  const url = `http://registry.test:${doors.port}/`
  const asking = timed(transportTo(t, url).request({ method: 'GET', url: new URL(url) }))
  const plain = handshakeMs(t, '127.0.0.1', doors.port)
  doors.openInTime()
  const { value, ms, lostMs } = await asking
  assert.equal((await collect(value.body())).toString(), 'ok')
  const most = Math.max(1000, await plain) + 800 + lostMs
  assert.ok(ms > 700 && ms < most, `${ms} of at most ${most} ms`)
})

const orders: Readonly<Record<string, readonly string[]>> = {
  'an IPv6 address without a route first': [nowhere, '127.0.0.1'],
  'an IPv6 address without a route last': ['127.0.0.1', nowhere],
  'two of each family': ['127.0.0.1', '127.0.0.2', nowhere, '2001:db8::2'],
  'two of each family, IPv6 first': [nowhere, '2001:db8::2', '127.0.0.1', '127.0.0.2'],
  'one that refuses first': ['127.0.0.9', '127.0.0.1'],
  'one that refuses last': ['127.0.0.1', '127.0.0.9'],
  'eight good ones': Array.from({ length: 8 }, (_, index) => `127.0.0.${index + 1}`),
}

for (const [what, addresses] of Object.entries(orders)) {
  test(`a handshake of a second, and ${what}: one handshake in all`, async (t) => {
    const slow = addresses.filter((address) => address !== nowhere && !/::2$|\.9$/.test(address))
    const doors = await slowDoors(t, slow)
    const racing = timed(race(t, doors.port, addresses).result)
    const plain = handshakeMs(t, '127.0.0.1', doors.port)
    doors.openInTime()
    const { ms, lostMs } = await racing
    // The second packet leaves after a second; where another address came first, its moment is added.
    const most = Math.max(1000, await plain) + 2 * 250 + 300 + lostMs
    assert.ok(ms > 500 && ms < most, `${ms} of at most ${most} ms`)
  })
}

test('an address that swallows everything costs a moment, wherever it stands', async (t) => {
  const { port } = await serverAt(t, '127.0.0.1')
  await slowDoors(t, ['127.0.0.2', '127.0.0.3'], port)
  for (const addresses of [
    ['127.0.0.2', '127.0.0.1'],
    ['127.0.0.2', '127.0.0.3', '127.0.0.1'],
    ['127.0.0.1', '127.0.0.2'],
  ]) {
    const { value, ms, lostMs } = await timed(race(t, port, addresses).result)
    assert.equal(value.remoteAddress, '127.0.0.1')
    // Far from the time-out of one of them.
    assert.ok(ms < 2500 + lostMs, `${ms} ms, ${lostMs} of them lost`)
  }
})

test('an address that refuses costs nothing', async (t) => {
  const { port } = await serverAt(t, '127.0.0.1')
  const addresses = ['127.0.0.5', '127.0.0.6', '127.0.0.7', '127.0.0.1']
  const { ms, lostMs } = await timed(race(t, port, addresses).result)
  // One of the three moments that it would be if they were waited for.
  assert.ok(ms < 2 * 250 + lostMs, `${ms} ms, ${lostMs} of them lost`)
})

test('families take turns, beginning with the one that the resolver puts first', async (t) => {
  const { port } = await serverAt(t, '127.0.0.1')
  const addresses = ['127.0.0.5', '127.0.0.6', '127.0.0.7', '::1', '127.0.0.1']
  const tried: string[] = []
  const found = addresses.map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }))
  const open = (host: string): Socket => {
    tried.push(host)
    return connect({ host, port })
  }
  const { signal } = new AbortController()
  const socket = await raceAddresses(found, { port, open, timeoutMs: 5000, signal })
  socket.destroy()
  assert.deepEqual(tried.slice(0, 3), ['127.0.0.5', '::1', '127.0.0.6'])
})

test('nothing stays open behind the winner', async (t) => {
  const { server, port } = await serverAt(t, '127.0.0.1')
  await slowDoors(t, ['127.0.0.2'], port)
  const { sockets, result } = race(t, port, ['127.0.0.2', '127.0.0.1'])
  const winner = await result
  assert.deepEqual(
    sockets.map((socket) => socket.destroyed),
    [true, false],
  )
  winner.destroy()
  await until(() => new Promise((resolve) => server.getConnections((_error, count) => resolve(count === 0))))
})

test('all of them dead: the reason is made of its parts', async (t) => {
  const { server, port } = await serverAt(t, '127.0.0.1')
  server.close()
  const { result } = race(t, port, ['127.0.0.1', nowhere])
  await assert.rejects(result, ({ message }: Error) => {
    assert.match(message, new RegExp(`127\\.0\\.0\\.1:${port} refused it \\(ECONNREFUSED\\)`))
    assert.match(message, new RegExp(`\\[2001:db8::1\\]:${port} \\S.* \\(E[A-Z]+\\)`))
    return true
  })
})

test('all of them silent: a time-out that names them', async (t) => {
  const doors = await slowDoors(t, ['127.0.0.1', '127.0.0.2'])
  const { value, ms, lostMs } = await timed(
    race(t, doors.port, ['127.0.0.1', '127.0.0.2'], 700).result.catch(
      (error: NodeJS.ErrnoException) => error,
    ),
  )
  assert.equal((value as NodeJS.ErrnoException).code, 'ETIMEDOUT')
  assert.match(
    String(value),
    /127\.0\.0\.1:\d+ did not answer \(ETIMEDOUT\), 127\.0\.0\.2:\d+ did not answer/,
  )
  assert.ok(ms < 2 * 700 + lostMs, `${ms} ms, ${lostMs} of them lost`)
})

test('dead addresses make the upstream unreachable, with a reason', async (t) => {
  const { server, port } = await serverAt(t, '127.0.0.1')
  server.close()
  stubNames(t, () => ['127.0.0.1', '127.0.0.2'])
  const url = `http://registry.test:${port}/`
  const request = transportTo(t, url).request({ method: 'GET', url: new URL(url) })
  await failsWith(
    request,
    'UNREACHABLE',
    /127\.0\.0\.1:\d+ refused it \(ECONNREFUSED\), 127\.0\.0\.2:\d+ refused it \(ECONNREFUSED\)$/,
  )
})

test('whoever leaves ends what was begun', async (t) => {
  const doors = await slowDoors(t, ['127.0.0.1'])
  const { sockets, result, stop } = race(t, doors.port, ['127.0.0.1'])
  stop()
  await assert.rejects(result, /gone/)
  assert.equal(sockets[0]?.destroyed, true)
})
