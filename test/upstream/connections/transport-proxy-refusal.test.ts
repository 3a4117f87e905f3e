import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { redactText } from '../../../src/logging/redact.ts'
import type { Tag } from '../../../src/oci/reference.ts'
import type { RepositoryName } from '../../../src/oci/repository-name.ts'
import { clientOf, collect, failsWith, listen, patient, selfSigned, transportTo } from '../fixtures.ts'
import { forwardProxy } from './forward-proxy.ts'
import { stubNames } from './stub-names.ts'

// What a forward proxy does wrong or refuses is said to be its doing, with its name and without its password. Neighbours:
// each status, to CONNECT and to plain http; gone, silent, closing, resetting; a proxy at https; a tunnel that breaks in
// the handshake; a redirect to a host that is exempt, and from one that is.

const certificate = await selfSigned('IP:127.0.0.1,DNS:registry.test')

/** A proxy that answers everything with one status. */
async function refusingProxy(t: TestContext, status: number): Promise<{ url: string; port: number }> {
  const server = createServer((_request, response) => response.writeHead(status).end())
  server.on('connect', (_request, socket: Socket) => {
    socket.end(`HTTP/1.1 ${status} Because\r\nContent-Length: 0\r\n\r\n`)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  return { url: `http://ann:secret@127.0.0.1:${port}`, port }
}

const refusals: readonly (readonly [status: number, message: string])[] = [
  [
    407,
    'wants a user name and a password, or other ones \\(it answered 407 Because\\): write them into its URL',
  ],
  [403, 'refuses to connect to registry\\.test:443 \\(it answered 403 Because\\)'],
  [400, 'refuses to connect to registry\\.test:443 \\(it answered 400 Because\\)'],
  [502, 'could not connect to registry\\.test:443 \\(it answered 502 Because\\)'],
  [503, 'could not connect to registry\\.test:443'],
  [302, 'refuses to connect to registry\\.test:443'],
]

for (const [status, message] of refusals) {
  test(`a proxy that answers CONNECT with ${status}: the message names it and says what`, async (t) => {
    const proxy = await refusingProxy(t, status)
    const url = 'https://registry.test/'
    const request = transportTo(t, url, { proxyEnvironment: { HTTPS_PROXY: proxy.url } }).request({
      method: 'GET',
      url: new URL(url),
    })
    await failsWith(
      request,
      'UNREACHABLE',
      new RegExp(`^docker\\.io: the proxy 127\\.0\\.0\\.1:${proxy.port} ${message}`),
    )
    // Nor is anything in it taken for a secret by the log.
    await assert.rejects(
      request,
      ({ message: said }: Error) => !/secret/.test(said) && redactText(said) === said,
    )
  })
}

test('a proxy that answers plain http with 407: the message says so', async (t) => {
  const proxy = await refusingProxy(t, 407)
  const url = 'http://registry.test/'
  const transport = transportTo(t, url, { proxyEnvironment: { HTTP_PROXY: proxy.url } })
  const request = transport.request({ method: 'GET', url: new URL(url) })
  await failsWith(
    request,
    'UNREACHABLE',
    new RegExp(`the proxy 127\\.0\\.0\\.1:${proxy.port} wants a user name`),
  )
})

test('a 407 where there is no proxy is an answer', async (t) => {
  const server = await listen(t, (_request, response) => response.writeHead(407).end())
  const response = await transportTo(t, server.url).request({ method: 'GET', url: new URL(server.url) })
  response.discard()
  assert.equal(response.status, 407)
})

test('a proxy that is gone: the message names it, and the circuit opens', async (t) => {
  const gone = await listen(t, () => {})
  gone.server.close()
  for (const url of ['http://registry.test/', 'https://registry.test/']) {
    const proxyEnvironment = { HTTP_PROXY: gone.url, HTTPS_PROXY: gone.url }
    const client = clientOf(t, url, { proxyEnvironment })
    const ask = () => client.manifestDigest('library/app' as RepositoryName, 'latest' as Tag)
    const message = new RegExp(
      `the proxy 127\\.0\\.0\\.1:${gone.port} cannot be reached: \\S+ refused it \\(ECONNREFUSED\\)`,
    )
    await failsWith(ask(), 'UNREACHABLE', message)
    await failsWith(ask(), 'UNREACHABLE', message)
    await failsWith(ask(), 'CIRCUIT_OPEN', message)
  }
})

test('a proxy whose name nobody knows', async (t) => {
  stubNames(t, () => [])
  const url = 'https://registry.test/'
  const proxyEnvironment = { HTTPS_PROXY: 'proxy.invalid:3128' }
  const request = transportTo(t, url, { proxyEnvironment }).request({ method: 'GET', url: new URL(url) })
  await failsWith(
    request,
    'UNREACHABLE',
    /the proxy proxy\.invalid:3128 cannot be reached: there is no host of the name proxy\.invalid \(ENOTFOUND\)$/,
  )
})

const endings: Readonly<Record<string, (socket: Socket) => void>> = {
  'closes the connection': (socket) => socket.end(),
  'resets the connection': (socket) => socket.resetAndDestroy(),
  'says what is no HTTP': (socket) => socket.end('SSH-2.0-OpenSSH\r\n'),
}

for (const [what, atConnect] of Object.entries(endings)) {
  test(`a proxy that ${what} when asked for a tunnel: the message names it`, async (t) => {
    const server = createServer()
    server.on('connect', (_request, socket: Socket) => atConnect(socket))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.after(() => server.close())
    const { port } = server.address() as AddressInfo
    const url = 'https://registry.test/'
    const proxyEnvironment = { HTTPS_PROXY: `127.0.0.1:${port}` }
    const request = transportTo(t, url, { proxyEnvironment }).request({ method: 'GET', url: new URL(url) })
    await failsWith(
      request,
      'UNREACHABLE',
      new RegExp(`the proxy 127\\.0\\.0\\.1:${port} broke off when asked`),
    )
  })
}

test('a tunnel that ends in the handshake fails at once', async (t) => {
  const closing = await listen(t, () => {})
  closing.server.removeAllListeners('connection')
  closing.server.on('connection', (socket: Socket) => socket.end())
  const proxy = await forwardProxy(t, () => closing.port)
  const url = 'https://registry.test/'
  const transport = transportTo(t, url, { proxyEnvironment: { HTTPS_PROXY: proxy.url }, ...patient })
  const began = performance.now()
  await failsWith(transport.request({ method: 'GET', url: new URL(url) }), 'UNREACHABLE')
  assert.ok(performance.now() - began < 30_000)
})

test('a proxy at https is spoken to over TLS, and checked', async (t) => {
  const server = await listen(t, (_request, response) => void response.end('ok'), { tls: certificate })
  const plain = await forwardProxy(t, () => server.port)
  // TLS in front of the proxy: what comes out of it goes to the plain one.
  const secure = createTlsServer(certificate, (socket) => {
    const onward = connect(plain.port, '127.0.0.1')
    onward.on('error', () => socket.destroy())
    socket.on('error', () => onward.destroy())
    socket.pipe(onward).pipe(socket)
  })
  await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve))
  t.after(() => secure.close())
  const address = `https://127.0.0.1:${(secure.address() as AddressInfo).port}`
  const url = 'https://registry.test/'
  const proxyEnvironment = { HTTPS_PROXY: address }
  const trusting = transportTo(t, url, { proxyEnvironment, ca: certificate.cert })
  const response = await trusting.request({ method: 'GET', url: new URL(url) })
  assert.equal((await collect(response.body())).toString(), 'ok')
  const wary = transportTo(t, url, { proxyEnvironment }).request({ method: 'GET', url: new URL(url) })
  await failsWith(
    wary,
    'UNREACHABLE',
    /the proxy 127\.0\.0\.1:\d+ cannot be reached: self-signed certificate/,
  )
  trusting[Symbol.dispose]()
})

test('each hop goes its own way: a registry behind the proxy redirects to a host that is exempt', async (t) => {
  const storage = await listen(t, (_request, response) => void response.end('bytes'))
  const registry = await listen(t, (_request, response) =>
    response.writeHead(307, { location: `${storage.url}/blob` }).end(),
  )
  const proxy = await forwardProxy(t, () => registry.port)
  const url = 'http://127.0.0.9/'
  const proxyEnvironment = { HTTP_PROXY: proxy.url, NO_PROXY: '127.0.0.0/29' }
  const response = await transportTo(t, url, { proxyEnvironment }).request({
    method: 'GET',
    url: new URL(url),
  })
  assert.equal((await collect(response.body())).toString(), 'bytes')
  assert.deepEqual(
    proxy.requests.map(({ target }) => target),
    [url],
  )
})

test('storage that fails never opens the circuit of the registry', async (t) => {
  const gone = await listen(t, () => {})
  gone.server.close()
  const registry = await listen(t, (_request, response) =>
    response.writeHead(307, { location: `${gone.url}/blob` }).end(),
  )
  const client = clientOf(t, registry.url)
  const { signal } = new AbortController()
  for (let count = 0; count < 5; count += 1) {
    const blob = client.blob('library/app' as RepositoryName, `sha256:${'a'.repeat(64)}` as never, {
      position: 0,
      signal,
    })
    await failsWith(blob, 'UNREACHABLE', /to which it redirects: .*refused it/)
  }
  assert.equal(client.isReachable, true)
})
