import assert from 'node:assert/strict'
import type { RequestListener } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { clientOf, collect, failsWith, listen, selfSigned, transportTo } from '../fixtures.ts'
import { forwardProxy } from './forward-proxy.ts'
import { stubNames } from './stub-names.ts'

const secrets = { authorization: 'Bearer secret', cookie: 'a=b', 'proxy-authorization': 'Basic c2VjcmV0' }
const certificate = await selfSigned('IP:127.0.0.1,IP:127.0.0.2')

/** Answers everything with a redirect. */
function redirect(location: () => string, status = 307): RequestListener {
  return (_request, response) => response.writeHead(status, { location: location() }).end('moved')
}

const ok: RequestListener = (_request, response) => void response.end('ok')

function secretsIn(headers: object): string[] {
  return Object.keys(secrets).filter((name) => name in headers)
}

for (const status of [301, 302, 303, 307, 308]) {
  test(`a ${status} is followed; credentials go along to the same origin`, async (t) => {
    const server = await listen(t, (request, response) => {
      if (request.url === '/a') redirect(() => '/b?c=d', status)(request, response)
      else ok(request, response)
    })
    const url = new URL(`${server.url}/a`)
    const response = await transportTo(t, server.url).request({ method: 'GET', url, headers: secrets })
    assert.equal((await collect(response.body())).toString(), 'ok')
    assert.equal(response.url.href, `${server.url}/b?c=d`)
    assert.deepEqual(secretsIn(server.requests[1]?.headers ?? {}), Object.keys(secrets))
  })
}

test('credentials are dropped where host, port or scheme changes', async (t) => {
  const others = [
    await listen(t, ok, { address: '127.0.0.2' }),
    await listen(t, ok),
    await listen(t, ok, { tls: certificate }),
  ]
  for (const other of others) {
    const server = await listen(
      t,
      redirect(() => `${other.url}/b`),
    )
    const transport = transportTo(t, server.url, { ca: certificate.cert })
    const headers = { ...secrets, range: 'bytes=5-' }
    const response = await transport.request({ method: 'GET', url: new URL(server.url), headers })
    assert.equal((await collect(response.body())).toString(), 'ok')
    assert.equal(other.requests.length, 1)
    assert.deepEqual(secretsIn(other.requests[0]?.headers ?? {}), [], other.url)
    assert.equal(other.requests[0]?.headers.range, 'bytes=5-')
  }
})

test('credentials are dropped where only the scheme changes, from http to https at one port', async (t) => {
  const secure = await listen(t, ok, { tls: certificate })
  let url = ''
  const plain = await listen(
    t,
    redirect(() => url.replace('http:', 'https:')),
  )
  const both = createServer((socket) => {
    // The first byte of a TLS handshake is 22.
    socket.once('readable', () => {
      const start = socket.read()
      if (start === null) return
      socket.unshift(start)
      const { server } = start[0] === 22 ? secure : plain
      server.emit('connection', socket)
    })
  })
  await new Promise<void>((resolve) => both.listen(0, '127.0.0.1', resolve))
  t.after(() => both.close())
  url = `http://127.0.0.1:${(both.address() as AddressInfo).port}/`
  const transport = transportTo(t, url, { ca: certificate.cert })
  const response = await transport.request({ method: 'GET', url: new URL(url), headers: secrets })
  assert.equal((await collect(response.body())).toString(), 'ok')
  assert.deepEqual(secretsIn(plain.requests[0]?.headers ?? {}), Object.keys(secrets))
  assert.deepEqual(secretsIn(secure.requests[0]?.headers ?? {}), [])
})

test('credentials that were dropped do not come back with a redirect to the first origin', async (t) => {
  const server = await listen(t, (request, response) =>
    request.url === '/first' ? redirect(() => other.url)(request, response) : ok(request, response),
  )
  const other = await listen(
    t,
    redirect(() => `${server.url}/last`),
  )
  const url = new URL(`${server.url}/first`)
  const response = await transportTo(t, server.url).request({ method: 'GET', url, headers: secrets })
  response.discard()
  assert.equal(server.requests[1]?.url, '/last')
  assert.deepEqual(secretsIn(server.requests[1]?.headers ?? {}), [])
})

test('user and password in a Location are not sent', async (t) => {
  const other = await listen(t, ok)
  const server = await listen(
    t,
    redirect(() => `http://user:password@127.0.0.1:${other.port}/`),
  )
  const response = await transportTo(t, server.url).request({ method: 'GET', url: new URL(server.url) })
  response.discard()
  assert.equal(other.requests[0]?.headers.authorization, undefined)
})

test('https is never left for http', async (t) => {
  const other = await listen(t, ok)
  const server = await listen(
    t,
    redirect(() => other.url),
    { tls: certificate },
  )
  const transport = transportTo(t, server.url, { ca: certificate.cert })
  await failsWith(transport.request({ method: 'GET', url: new URL(server.url) }), 'REFUSED', /https to http/)
  assert.equal(other.connections(), 0)
})

test('a loop ends after five redirects', async (t) => {
  const server = await listen(
    t,
    redirect(() => '/again'),
  )
  await failsWith(
    transportTo(t, server.url).request({ method: 'GET', url: new URL(server.url) }),
    'REFUSED',
    /more than 5 redirects/,
  )
  assert.equal(server.requests.length, 6)
})

for (const location of [
  'file:///etc/passwd',
  'ftp://127.0.0.1/',
  'data:,x',
  'unix:/run/x.sock',
  'http://',
  'http://[x',
]) {
  test(`a redirect to ${location} is refused`, async (t) => {
    const server = await listen(
      t,
      redirect(() => location),
    )
    const request = transportTo(t, server.url).request({ method: 'GET', url: new URL(server.url) })
    await failsWith(request, 'REFUSED', /something else than http/)
  })
}

test('a redirect without Location is an answer like any other', async (t) => {
  const server = await listen(t, (_request, response) => response.writeHead(307).end())
  const response = await transportTo(t, server.url).request({ method: 'GET', url: new URL(server.url) })
  response.discard()
  assert.equal(response.status, 307)
})

const inner = [
  '127.0.0.1',
  '127.1',
  '0.0.0.0',
  '2130706433',
  '169.254.169.254',
  '[::ffff:127.0.0.1]',
  '[::1]',
]

for (const host of inner) {
  test(`a public upstream that sends us to ${host} is refused without a connection`, async (t) => {
    const target = await listen(t, ok)
    const registry = await listen(
      t,
      redirect(() => `http://${host}:${target.port}/`),
    )
    const proxy = await forwardProxy(t, (name) => (name === 'registry.test' ? registry.port : target.port))
    const proxyEnvironment = { HTTP_PROXY: proxy.url, NO_PROXY: '127.0.0.1,[::1],0.0.0.0' }
    const transport = transportTo(t, 'http://registry.test', { proxyEnvironment })
    const request = transport.request({ method: 'GET', url: new URL('http://registry.test/') })
    await failsWith(request, 'REFUSED', /private network/)
    assert.equal(target.connections(), 0)
    assert.deepEqual(
      proxy.requests.map((request) => request.target),
      ['http://registry.test/'],
    )
  })
}

test('a public upstream that sends us to a name with a private address is refused', async (t) => {
  const target = await listen(t, ok)
  const registry = await listen(
    t,
    redirect(() => `http://inner.test:${target.port}/`),
  )
  const proxy = await forwardProxy(t, () => registry.port)
  stubNames(t, (name) => (name === 'inner.test' ? ['127.0.0.1', '169.254.169.254'] : []))
  const proxyEnvironment = { HTTP_PROXY: proxy.url, NO_PROXY: 'inner.test' }
  const transport = transportTo(t, 'http://registry.test', { proxyEnvironment })
  const request = transport.request({ method: 'GET', url: new URL('http://registry.test/') })
  await failsWith(request, 'REFUSED', /inner\.test has only addresses of a private network/)
  assert.equal(target.connections(), 0)
})

test('the address of the proxy is no place to send us to, by number or by name', async (t) => {
  const target = await listen(t, ok)
  for (const host of ['127.0.0.1', 'proxy.test']) {
    const registry = await listen(
      t,
      redirect(() => `http://${host}:${target.port}/`),
    )
    const proxy = await forwardProxy(t, (name) => (name === 'registry.test' ? registry.port : target.port))
    stubNames(t, (name) => (name === 'proxy.test' ? ['127.0.0.1'] : []))
    const proxyEnvironment = { HTTP_PROXY: `http://${host}:${proxy.port}` }
    const transport = transportTo(t, 'http://registry.test', { proxyEnvironment })
    const request = transport.request({ method: 'GET', url: new URL('http://registry.test/') })
    await failsWith(request, 'REFUSED', /private network/)
    assert.equal(proxy.requests.length, 1)
  }
  assert.equal(target.connections(), 0)
})

test('an upstream on loopback may send us to loopback, by number or by name', async (t) => {
  const target = await listen(t, ok)
  for (const host of ['127.0.0.1', 'localhost', 'inner.test']) {
    const server = await listen(
      t,
      redirect(() => `http://${host}:${target.port}/`),
    )
    stubNames(t, () => ['127.0.0.1'])
    for (const upstream of [server.url, `http://registry.test:${server.port}`]) {
      const response = await transportTo(t, upstream).request({ method: 'GET', url: new URL(upstream) })
      assert.equal((await collect(response.body())).toString(), 'ok')
    }
  }
})

test('a refusal does not count as an outage: the next request is sent', async (t) => {
  const server = await listen(
    t,
    redirect(() => 'file:///etc/passwd'),
  )
  const client = clientOf(t, server.url)
  for (let attempt = 0; attempt < 5; attempt += 1) {
    await failsWith(client.manifestDigest('a/b' as never, 'latest' as never), 'REFUSED')
  }
  assert.equal(server.requests.length, 5)
  assert.equal(client.isReachable, true)
})
