import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { collect, failsWith, listen, selfSigned, transportTo } from '../fixtures.ts'

const certificate = await selfSigned('IP:127.0.0.1')
const other = await selfSigned('IP:127.0.0.1')
const otherName = await selfSigned('DNS:registry.test')

const get = (url: string) => ({ method: 'GET', url: new URL(url) }) as const

test('a certificate of our own authority is trusted', async (t) => {
  const server = await listen(t, (_request, response) => void response.end('ok'), { tls: certificate })
  const response = await transportTo(t, server.url, { ca: certificate.cert }).request(get(server.url))
  assert.equal((await collect(response.body())).toString(), 'ok')
})

test('several authorities in one PEM are all trusted', async (t) => {
  const ca = `${other.cert}\n${certificate.cert}`
  const server = await listen(t, (_request, response) => void response.end('ok'), { tls: certificate })
  const response = await transportTo(t, server.url, { ca }).request(get(server.url))
  response.discard()
  assert.equal(response.status, 200)
})

for (const [what, ca] of [
  ['no authority of our own', undefined],
  ['another authority', other.cert],
] as const) {
  test(`a self-signed certificate with ${what} is UNREACHABLE, and the message says so`, async (t) => {
    const server = await listen(t, (_request, response) => void response.end('ok'), { tls: certificate })
    await failsWith(
      transportTo(t, server.url, { ca }).request(get(server.url)),
      'UNREACHABLE',
      /self-signed certificate/,
    )
    assert.equal(server.requests.length, 0)
  })
}

test('a certificate for another name is UNREACHABLE, and the message says so', async (t) => {
  const server = await listen(t, (_request, response) => void response.end('ok'), { tls: otherName })
  const request = transportTo(t, server.url, { ca: otherName.cert }).request(get(server.url))
  await failsWith(request, 'UNREACHABLE', /does not match certificate.*127\.0\.0\.1/)
  assert.equal(server.requests.length, 0)
})

test('a server that speaks no TLS is UNREACHABLE; nothing goes out in the clear', async (t) => {
  const server = await listen(t, (_request, response) => void response.end('ok'))
  const url = server.url.replace('http:', 'https:')
  const headers = { authorization: 'Bearer secret' }
  await failsWith(transportTo(t, url).request({ ...get(url), headers }), 'UNREACHABLE')
  assert.equal(server.requests.length, 0)
})

test('a second connection goes on with the TLS session of the first: no certificates cross the line again', async (t) => {
  const server = await listen(
    t,
    (_request, response) => void response.setHeader('connection', 'close').end('ok'),
    {
      tls: certificate,
    },
  )
  const reused: boolean[] = []
  server.server.on('secureConnection', (socket: TLSSocket) => void reused.push(socket.isSessionReused()))
  const transport = transportTo(t, server.url, { ca: certificate.cert })
  for (let count = 0; count < 3; count += 1) {
    const response = await transport.request({ method: 'GET', url: new URL(server.url) })
    await collect(response.body())
  }
  assert.deepEqual(reused, [false, true, true])
})
