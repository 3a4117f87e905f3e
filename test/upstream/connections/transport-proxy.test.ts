import assert from 'node:assert/strict'
import { type AddressInfo, createServer } from 'node:net'
import { test } from 'node:test'
import { collect, failsWith, listen, selfSigned, transportTo } from '../fixtures.ts'
import { forwardProxy } from './forward-proxy.ts'

const certificate = await selfSigned('DNS:registry.test,DNS:cdn.test')

const get = (url: string) => ({ method: 'GET', url: new URL(url) }) as const

for (const variable of ['HTTP_PROXY', 'http_proxy']) {
  test(`${variable} is used for an upstream at http, though the proxy is at a loopback address`, async (t) => {
    const server = await listen(t, (request, response) => void response.end(request.headers.host))
    const proxy = await forwardProxy(t, () => server.port)
    const url = 'http://registry.test/v2/?a=b'
    const transport = transportTo(t, url, { proxyEnvironment: { [variable]: proxy.url } })
    const headers = { authorization: 'Bearer secret' }
    const response = await transport.request({ ...get(url), headers })
    assert.equal((await collect(response.body())).toString(), 'registry.test')
    assert.deepEqual(proxy.requests, [{ method: 'GET', target: url, authorization: undefined }])
    assert.equal(server.requests[0]?.headers.authorization, 'Bearer secret')
  })
}

for (const variable of ['HTTPS_PROXY', 'https_proxy']) {
  test(`${variable} is used for an upstream at https, by CONNECT, with our own authority`, async (t) => {
    const server = await listen(t, (_request, response) => void response.end('ok'), { tls: certificate })
    const proxy = await forwardProxy(t, () => server.port)
    const url = 'https://registry.test/v2/'
    const proxyEnvironment = { [variable]: proxy.url }
    const transport = transportTo(t, url, { proxyEnvironment, ca: certificate.cert })
    for (let count = 0; count < 3; count += 1) {
      const response = await transport.request({ ...get(url), headers: { authorization: 'Bearer secret' } })
      assert.equal((await collect(response.body())).toString(), 'ok')
    }
    const asked = { method: 'CONNECT', target: 'registry.test:443', authorization: undefined }
    assert.deepEqual(proxy.requests, [asked], 'one tunnel for all requests')
    assert.equal(server.requests[0]?.headers.authorization, 'Bearer secret')
  })
}

test('a redirect to another host goes through the proxy, too', async (t) => {
  const cdn = await listen(t, (_request, response) => void response.end('ok'), { tls: certificate })
  const server = await listen(
    t,
    (_request, response) => response.writeHead(307, { location: 'https://cdn.test/blob' }).end(),
    { tls: certificate },
  )
  const proxy = await forwardProxy(t, (host) => (host === 'cdn.test' ? cdn.port : server.port))
  const proxyEnvironment = { HTTPS_PROXY: proxy.url }
  const url = 'https://registry.test/'
  const transport = transportTo(t, url, { proxyEnvironment, ca: certificate.cert })
  const response = await transport.request({ ...get(url), headers: { authorization: 'Bearer secret' } })
  assert.equal((await collect(response.body())).toString(), 'ok')
  assert.equal(cdn.requests[0]?.headers.authorization, undefined)
  assert.deepEqual(
    proxy.requests.map(({ target }) => target),
    ['registry.test:443', 'cdn.test:443'],
  )
})

test('a login for the proxy goes to the proxy only', async (t) => {
  const plain = await listen(t, (_request, response) => void response.end('ok'))
  const secure = await listen(t, (_request, response) => void response.end('ok'), { tls: certificate })
  for (const [scheme, server] of [
    ['http', plain],
    ['https', secure],
  ] as const) {
    const proxy = await forwardProxy(t, () => server.port)
    const login = proxy.url.replace('http://', 'http://user:password@')
    const url = `${scheme}://registry.test/`
    const proxyEnvironment = { HTTP_PROXY: login, HTTPS_PROXY: login }
    const transport = transportTo(t, url, { proxyEnvironment, ca: certificate.cert })
    const response = await transport.request(get(url))
    response.discard()
    assert.equal(proxy.requests[0]?.authorization, `Basic ${Buffer.from('user:password').toString('base64')}`)
    assert.equal(server.requests[0]?.headers.authorization, undefined)
    if (scheme === 'https') assert.equal(server.requests[0]?.headers['proxy-authorization'], undefined)
  }
})

for (const list of ['127.0.0.1', 'a.test,127.0.0.1', '*']) {
  test(`NO_PROXY=${list} is obeyed`, async (t) => {
    const server = await listen(t, (_request, response) => void response.end('ok'))
    const proxy = await forwardProxy(t, () => server.port)
    const proxyEnvironment = { HTTP_PROXY: proxy.url, NO_PROXY: list }
    const response = await transportTo(t, server.url, { proxyEnvironment }).request(get(server.url))
    response.discard()
    assert.equal(response.status, 200)
    assert.equal(proxy.requests.length, 0)
  })
}

test('the environment of the process itself is not looked at', async (t) => {
  const server = await listen(t, (_request, response) => void response.end('ok'))
  const proxy = await forwardProxy(t, () => server.port)
  const before = process.env.HTTP_PROXY
  process.env.HTTP_PROXY = proxy.url
  t.after(() => {
    if (before === undefined) delete process.env.HTTP_PROXY
    else process.env.HTTP_PROXY = before
  })
  const response = await transportTo(t, server.url).request(get(server.url))
  response.discard()
  assert.equal(proxy.requests.length, 0)
})

test('a proxy that refuses the tunnel makes the upstream UNREACHABLE, with a message that says so', async (t) => {
  const proxy = await forwardProxy(t, () => undefined)
  const url = 'https://registry.test/'
  const transport = transportTo(t, url, { proxyEnvironment: { HTTPS_PROXY: proxy.url } })
  await failsWith(transport.request(get(url)), 'UNREACHABLE', /502/)
})

test('a proxy that is down makes the upstream UNREACHABLE', async (t) => {
  const gone = await listen(t, () => {})
  gone.server.close()
  for (const url of ['http://registry.test/', 'https://registry.test/']) {
    const transport = transportTo(t, url, {
      proxyEnvironment: { HTTP_PROXY: gone.url, HTTPS_PROXY: gone.url },
    })
    await failsWith(transport.request(get(url)), 'UNREACHABLE', /ECONNREFUSED/)
  }
})

test('whoever accepts a connection and then says nothing is given up', { timeout: 20_000 }, async (t) => {
  const silent = createServer(() => {})
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  t.after(() => silent.close())
  const { port } = silent.address() as AddressInfo
  const stalling = await forwardProxy(t, () => 'stall')
  const toSilence = await forwardProxy(t, () => port)
  const cases = [
    ['a server, in its handshake', `https://127.0.0.1:${port}/`, undefined],
    ['a proxy', 'http://registry.test/', stalling.url],
    ['a proxy, asked for a tunnel', 'https://registry.test/', stalling.url],
    ['a server behind a tunnel', 'https://registry.test/', toSilence.url],
  ] as const
  await Promise.all(
    cases.map(async ([who, url, proxy]) => {
      const proxyEnvironment = proxy === undefined ? {} : { HTTP_PROXY: proxy, HTTPS_PROXY: proxy }
      const request = transportTo(t, url, { proxyEnvironment, stallMs: 1000 }).request(get(url))
      await assert.rejects(request, { name: 'UpstreamError', code: 'TIMED_OUT' }, who)
    }),
  )
  assert.deepEqual([stalling.requests.length, toSilence.requests.length], [2, 1])
})

test('a certificate for another name is refused behind a proxy, too', async (t) => {
  const server = await listen(t, (_request, response) => void response.end('ok'), { tls: certificate })
  const proxy = await forwardProxy(t, () => server.port)
  const url = 'https://elsewhere.test/'
  const proxyEnvironment = { HTTPS_PROXY: proxy.url }
  const transport = transportTo(t, url, { proxyEnvironment, ca: certificate.cert })
  await failsWith(transport.request(get(url)), 'UNREACHABLE', /elsewhere\.test/)
  assert.equal(server.requests.length, 0)
})
