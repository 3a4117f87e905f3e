import assert from 'node:assert/strict'
import { createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { RoundTrips } from '../../../src/upstream/connections/round-trips.ts'
import type { Transport } from '../../../src/upstream/connections/transport.ts'
import { until } from '../../support/settle.ts'
import { collect, failsWith, listen, selfSigned, type TestServer, transportTo } from '../fixtures.ts'
import { forwardProxy } from './forward-proxy.ts'
import { listenRaw } from './raw-server.ts'

// Neighbours: plain, TLS, a tunnel, a proxy for http; one that is ready, one on its way, one that failed, one that was closed,
// one that spoke before it was asked; a host that is near, one that is forbidden; the end of the process.

const certificate = await selfSigned('IP:127.0.0.1,DNS:registry.test')

/** All that is asked is far away, or near. */
function atDistance(t: TestContext, isFar: boolean): void {
  t.mock.method(RoundTrips.prototype, 'isFar', () => isFar)
}

const spares = (free: number, { most = 8, forMs = 60_000 } = {}) => ({ free, most, forMs })

async function ask(transport: Transport, url: string): Promise<string> {
  const answer = await transport.request({ method: 'GET', url: new URL(url) })
  return (await collect(answer.body())).toString()
}

function openAt({ server }: TestServer): Promise<number> {
  return new Promise((resolve, reject) =>
    server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  )
}

const ways = ['plain', 'TLS', 'a tunnel', 'a proxy'] as const

/** A server, and a transport that reaches it in one of the ways. */
async function reach(t: TestContext, way: (typeof ways)[number], body = 'ok') {
  const isTls = way === 'TLS' || way === 'a tunnel'
  const server = await listen(t, (_request, response) => void response.end(body), {
    ...(isTls ? { tls: certificate } : {}),
  })
  const reused: boolean[] = []
  server.server.on('secureConnection', (socket: TLSSocket) => void reused.push(socket.isSessionReused()))
  if (way === 'plain' || way === 'TLS') {
    const transport = transportTo(t, server.url, { ca: certificate.cert })
    return { server, url: `${server.url}/`, transport, reused, proxy: undefined }
  }
  const proxy = await forwardProxy(t, () => server.port)
  const url = `${isTls ? 'https' : 'http'}://registry.test/`
  const proxyEnvironment = { HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url }
  const transport = transportTo(t, url, { ca: certificate.cert, proxyEnvironment })
  return { server, url, transport, reused, proxy }
}

for (const way of ways.slice(0, 3)) {
  for (const size of [2, 100_000]) {
    test(`what was opened early by ${way} serves questions of ${size} bytes, and no other is opened`, async (t) => {
      atDistance(t, true)
      const { server, url, transport } = await reach(t, way, 'x'.repeat(size))
      transport.prepare(new URL(url), spares(2))
      await until(async () => (await openAt(server)) === 2, { what: 'two connections' })
      // Ready on our side, too: what is on its way counts as well.
      for (let round = 0; round < 3; round += 1) {
        const answers = await Promise.all([ask(transport, url), ask(transport, url)])
        assert.deepEqual(
          answers.map(({ length }) => length),
          [size, size],
        )
      }
      transport.prepare(new URL(url), spares(2))
      assert.equal(server.connections(), 2)
    })
  }

  test(`a question takes over what is on its way by ${way}`, async (t) => {
    atDistance(t, true)
    const { server, url, transport } = await reach(t, way)
    transport.prepare(new URL(url), spares(2))
    await Promise.all([ask(transport, url), ask(transport, url)])
    assert.equal(server.connections(), 2)
  })
}

test('what leads to a proxy for http is opened early as well', async (t) => {
  atDistance(t, true)
  const { url, transport, proxy } = await reach(t, 'a proxy')
  transport.prepare(new URL(url), spares(1))
  assert.equal(await ask(transport, url), 'ok')
  assert.equal(proxy?.requests.length, 1)
})

test('what is opened early goes on with the TLS session of what was there, and others with its own', async (t) => {
  atDistance(t, true)
  const { server, url, transport, reused } = await reach(t, 'TLS')
  await ask(transport, url)
  transport.prepare(new URL(url), spares(2))
  await until(() => reused.length === 2, { what: 'a second handshake' })
  transport.dropIdle()
  await until(async () => (await openAt(server)) === 0, { what: 'all closed' })
  await ask(transport, url)
  assert.deepEqual(reused, [false, true, true])
})

test('a first connection that was opened early begins the TLS session of those after it', async (t) => {
  atDistance(t, true)
  const { url, transport, reused } = await reach(t, 'TLS')
  transport.prepare(new URL(url), spares(1))
  await ask(transport, url)
  transport.prepare(new URL(url), spares(3))
  await until(() => reused.length === 3, { what: 'three handshakes' })
  assert.deepEqual(reused, [false, true, true])
})

test('no more lead there than may, used or not', async (t) => {
  atDistance(t, true)
  const { server, url, transport } = await reach(t, 'plain')
  const { origin } = new URL(url)
  const under = await transport.request({ method: 'GET', url: new URL(url) })
  transport.prepare(new URL(origin), spares(5, { most: 3 }))
  transport.prepare(new URL(origin), spares(5, { most: 3 }))
  await until(() => server.connections() === 3, { what: 'three connections' })
  await collect(under.body())
  for (let i = 0; i < 3; i += 1) await ask(transport, url)
  transport.prepare(new URL(origin), spares(5, { most: 3 }))
  assert.equal(server.connections(), 3)
})

test('nothing is opened early where it is near, or may not be gone to', async (t) => {
  const { server, url, transport } = await reach(t, 'plain')
  transport.prepare(new URL(url), spares(2))
  atDistance(t, true)
  const inside = createServer()
  let reached = 0
  inside.on('connection', () => {
    reached += 1
  })
  const port = await listenRaw(t, inside, [])
  const outside = transportTo(t, 'http://192.0.2.1/')
  outside.prepare(new URL(`http://127.0.0.1:${port}`), spares(2))
  // Whatever was begun would be there before this answer.
  await ask(transport, url)
  assert.deepEqual([server.connections(), reached], [1, 0])
  await failsWith(ask(outside, `http://127.0.0.1:${port}/`), 'REFUSED')
})

test('what nobody uses is closed after its time', async (t) => {
  atDistance(t, true)
  const { server, url, transport } = await reach(t, 'plain')
  transport.prepare(new URL(url), spares(2, { forMs: 30 }))
  await until(() => server.connections() === 2, { what: 'two connections' })
  await until(async () => (await openAt(server)) === 0, { what: 'closed' })
})

test('what could not be opened is told to whoever asks next, and to nobody else', async (t) => {
  atDistance(t, true)
  const { server, url, transport } = await reach(t, 'plain')
  server.server.close()
  transport.prepare(new URL(url), spares(2))
  await failsWith(ask(transport, url), 'UNREACHABLE')
})

for (const way of ways.slice(0, 3)) {
  test(`who speaks before he is asked is not listened to (${way})`, async (t) => {
    atDistance(t, true)
    const { server, url, transport } = await reach(t, way)
    const spoken: Socket[] = []
    const event = way === 'plain' ? 'connection' : 'secureConnection'
    server.server.on(event, (socket: Socket) => {
      if (spoken.push(socket) === 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad')
    })
    transport.prepare(new URL(url), spares(1))
    await until(() => spoken.length === 1, { what: 'a connection' })
    await until(() => spoken[0]?.destroyed === true, { what: 'it is closed' })
    assert.equal(await ask(transport, url), 'ok')
  })
}

test('what is on its way when all is begun anew is nobody’s', async (t) => {
  atDistance(t, true)
  const { server, url, transport } = await reach(t, 'TLS')
  transport.prepare(new URL(url), spares(2))
  transport.dropIdle()
  assert.equal(await ask(transport, url), 'ok')
  assert.equal(server.connections(), 3)
  await until(async () => (await openAt(server)) === 1, { what: 'those that were begun before are closed' })
})

test('the end of a transport closes what was opened early, and what is on its way', async (t) => {
  atDistance(t, true)
  const { server, url, transport } = await reach(t, 'TLS')
  transport.prepare(new URL(url), spares(1))
  await until(async () => (await openAt(server)) === 1, { what: 'a connection' })
  transport.prepare(new URL(url), spares(2))
  transport[Symbol.dispose]()
  await until(async () => (await openAt(server)) === 0, { what: 'all closed' })
})
