import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { deferred } from '../../../src/flow/deferred.ts'
import type { Tag } from '../../../src/oci/reference.ts'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { buildImage } from '../../support/images.ts'
import { clientOf, collect, failsWith, listen, selfSigned, transportTo } from '../fixtures.ts'
import { forwardProxy } from './forward-proxy.ts'
import { listenRaw } from './raw-server.ts'

// A router or a balancer on the way forgets a connection that lies idle, and whoever uses it next is reset. Neighbours:
// a reset, an end, an end of TLS; GET and HEAD; several idle connections at once; behind a tunnel and behind a proxy
// for http; a token service; the first request of a blob; a connection that is new, or has sent a part of an answer.

const certificate = await selfSigned('IP:127.0.0.1,DNS:registry.test')
const image = buildImage()
const repository = 'library/app' as RepositoryName

type Brief = {
  readonly port: number
  readonly url: string
  /** Requests in the order of their arrival, each with the number of its connection. */
  readonly requests: readonly { readonly connection: number; readonly line: string }[]
  /** Connections ever accepted. */
  readonly connections: () => number
}

/** A server that answers the first request of each connection, and does `atSecond` when another one comes. */
async function briefServer(
  t: TestContext,
  atSecond: (socket: Socket, reset: () => void) => void,
  options: { isSecure?: boolean; answer?: (line: string) => string } = {},
): Promise<Brief> {
  const { isSecure = false, answer = () => 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok' } = options
  const requests: { connection: number; line: string }[] = []
  const sockets: Socket[] = []
  /** What lies under TLS can be reset, TLS itself cannot. */
  const plain = new Map<number | undefined, Socket>()
  const serve = (socket: Socket): void => {
    const connection = sockets.push(socket)
    let served = 0
    socket.on('error', () => {})
    socket.on('data', (bytes: Buffer) => {
      const [line = ''] = bytes.toString('latin1').split('\r\n')
      requests.push({ connection, line })
      served += 1
      if (served === 1) socket.write(answer(line))
      else atSecond(socket, () => plain.get(socket.remotePort)?.resetAndDestroy())
    })
  }
  const server = isSecure ? createTlsServer(certificate, serve) : createServer(serve)
  server.on('connection', (socket: Socket) => plain.set(socket.remotePort, socket))
  const port = await listenRaw(t, server, sockets)
  const url = `${isSecure ? 'https' : 'http'}://127.0.0.1:${port}/`
  return { port, url, requests, connections: () => sockets.length }
}

const breaks: Readonly<Record<string, (socket: Socket, reset: () => void) => void>> = {
  'a reset': (_socket, reset) => reset(),
  'an end': (socket) => socket.end(),
}

for (const [what, atSecond] of Object.entries(breaks)) {
  for (const isSecure of [false, true]) {
    for (const method of ['GET', 'HEAD'] as const) {
      test(`${what} in place of an answer on a ${isSecure ? 'TLS ' : ''}connection that lay idle: the ${method} is sent once more on a new one`, async (t) => {
        const answer = () => `HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n${method === 'HEAD' ? '' : 'ok'}`
        const server = await briefServer(t, atSecond, { isSecure, answer })
        const transport = transportTo(t, server.url, { ca: certificate.cert })
        for (let count = 0; count < 3; count += 1) {
          const response = await transport.request({ method, url: new URL(server.url) })
          assert.equal(response.status, 200)
          await collect(response.body())
        }
        assert.deepEqual(
          server.requests.map(({ connection }) => connection),
          [1, 1, 2, 2, 3],
        )
      })
    }
  }
}

test('several connections that lie idle and are all dead cost one new one', async (t) => {
  const server = await briefServer(t, (socket) => socket.resetAndDestroy())
  const transport = transportTo(t, server.url)
  const ask = async (): Promise<void> => {
    const response = await transport.request({ method: 'GET', url: new URL(server.url) })
    await collect(response.body())
  }
  await Promise.all([ask(), ask(), ask(), ask()])
  assert.equal(server.connections(), 4)
  await ask()
  assert.equal(server.connections(), 5)
  assert.equal(server.requests.length, 6, 'one on a dead one, one on the new one')
})

test('behind the tunnel of a proxy, and behind a proxy for http, it is the same', async (t) => {
  for (const isSecure of [true, false]) {
    const server = await briefServer(t, (_socket, reset) => reset(), { isSecure })
    const proxy = isSecure ? await forwardProxy(t, () => server.port) : undefined
    // A proxy for http is itself the other end.
    const address = proxy?.url ?? server.url
    const url = `${isSecure ? 'https' : 'http'}://registry.test/`
    const proxyEnvironment = { HTTP_PROXY: address, HTTPS_PROXY: address }
    const transport = transportTo(t, url, { ca: certificate.cert, proxyEnvironment })
    for (let count = 0; count < 3; count += 1) {
      const response = await transport.request({ method: 'GET', url: new URL(url) })
      assert.equal((await collect(response.body())).toString(), 'ok')
    }
    assert.equal(server.connections(), 3)
  }
})

test('a registry and a token service whose idle connections are all dead: nothing is felt, and no circuit opens', async (t) => {
  const manifest = Buffer.from(image.manifest.bytes).toString('latin1')
  const tokens = await briefServer(t, (socket) => socket.resetAndDestroy(), {
    answer: () => {
      const body = JSON.stringify({ token: 'brief', expires_in: 1 })
      return `HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\n\r\n${body}`
    },
  })
  let asked = 0
  const registry = await briefServer(t, (socket) => socket.resetAndDestroy(), {
    answer: (line) => {
      asked += 1
      if (asked === 1) {
        return `HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nwww-authenticate: Bearer realm="${tokens.url}token"\r\n\r\n`
      }
      const body = line.startsWith('HEAD') ? '' : manifest
      return `HTTP/1.1 200 OK\r\ncontent-length: ${manifest.length}\r\ndocker-content-digest: ${image.manifest.digest}\r\ncontent-type: ${image.manifest.mediaType}\r\n\r\n${body}`
    },
  })
  const client = clientOf(t, registry.url)
  for (let count = 0; count < 4; count += 1) {
    assert.equal(await client.manifestDigest(repository, 'latest' as Tag), image.manifest.digest)
    const other = `library/app${count}` as RepositoryName
    assert.equal((await client.manifest(other, 'latest' as Tag)).claimedDigest, image.manifest.digest)
    const { signal } = new AbortController()
    const blob = await client.blob(repository, image.manifest.digest, { position: 0, signal })
    assert.equal((await collect(blob.body())).length, manifest.length)
  }
  assert.equal(client.isReachable, true)
})

test('a new connection that is reset is not tried again by itself', async (t) => {
  const server = await listen(t, (_request, response) => response.socket?.resetAndDestroy())
  await failsWith(
    transportTo(t, server.url).request({ method: 'GET', url: new URL(server.url) }),
    'UNREACHABLE',
  )
  assert.equal(server.connections(), 1)
})

test('a dead connection, and then a new one that is reset: that one counts', async (t) => {
  let connections = 0
  const server = createServer((socket) => {
    connections += 1
    const isFirst = connections === 1
    let served = 0
    socket.on('error', () => {})
    socket.on('data', () => {
      served += 1
      if (isFirst && served === 1) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
      else socket.resetAndDestroy()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const transport = transportTo(t, url)
  await collect((await transport.request({ method: 'GET', url: new URL(url) })).body())
  await failsWith(transport.request({ method: 'GET', url: new URL(url) }), 'UNREACHABLE')
  assert.equal(connections, 2)
})

const begun: Readonly<Record<string, string>> = {
  'a part of a head': 'HTTP/1.1 200 OK\r\ncontent-le',
  'a head and a part of a body': 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc',
  'what is no HTTP': 'SSH-2.0-OpenSSH\r\n',
}

for (const [what, bytes] of Object.entries(begun)) {
  test(`an idle connection that brings ${what} and then a reset is not tried again`, async (t) => {
    const server = await briefServer(t, (socket) =>
      socket.write(bytes, () => setTimeout(() => socket.resetAndDestroy(), 50)),
    )
    const transport = transportTo(t, server.url)
    const ask = async (): Promise<void> => {
      const response = await transport.request({ method: 'GET', url: new URL(server.url) })
      await collect(response.body())
    }
    await ask()
    await failsWith(ask(), 'UNREACHABLE')
    assert.equal(server.connections(), 1)
    assert.equal(server.requests.length, 2)
  })
}

test('a request that its signal ended is not sent again', async (t) => {
  const reached = deferred<void>()
  const server = await briefServer(t, () => reached.resolve())
  const transport = transportTo(t, server.url)
  await collect((await transport.request({ method: 'GET', url: new URL(server.url) })).body())
  const controller = new AbortController()
  const request = transport.request({ method: 'GET', url: new URL(server.url), signal: controller.signal })
  await reached.promise
  controller.abort(new Error('gone'))
  await assert.rejects(request, /gone/)
  assert.equal(server.connections(), 1)
})
