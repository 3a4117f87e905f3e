import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { collect, failsWith, listen, selfSigned, transportTo } from '../fixtures.ts'

// https:// to a port that speaks http, and http:// to one that speaks https. Neighbours: what different servers say to bytes
// that they do not understand: an alert of TLS, a 400 that tells (Go, nginx), the end, a reset, another protocol.

const certificate = await selfSigned('IP:127.0.0.1')

async function answering(t: TestContext, bytes: string | Buffer): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.end(bytes))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return (server.address() as AddressInfo).port
}

async function fails(t: TestContext, url: string, message: RegExp): Promise<void> {
  const request = transportTo(t, url).request({ method: 'GET', url: new URL(url) })
  await failsWith(request, 'UNREACHABLE', message)
}

const plainAnswers: Readonly<Record<string, string>> = {
  'that answers with HTTP': 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n',
  'that answers with a page': '<html><head><title>400 Bad Request</title></head></html>',
  'that is SSH': 'SSH-2.0-OpenSSH_9.2\r\n',
}

for (const [what, bytes] of Object.entries(plainAnswers)) {
  test(`https:// to a port ${what}: the message says so, and what to write`, async (t) => {
    const port = await answering(t, bytes)
    const hint = new RegExp(
      `what answers at 127\\.0\\.0\\.1:${port} speaks no TLS: .*http://127\\.0\\.0\\.1:${port}`,
    )
    await fails(t, `https://127.0.0.1:${port}/`, hint)
  })
}

test('https:// to a real server at http', async (t) => {
  const server = await listen(t, (_request, response) => void response.end('ok'))
  await fails(t, server.url.replace('http:', 'https:'), /speaks no TLS/)
})

test('http:// to a real server at https: the message says what to write', async (t) => {
  const server = await listen(t, (_request, response) => void response.end('ok'), { tls: certificate })
  await fails(t, server.url.replace('https:', 'http:'), /https:\/\/127\.0\.0\.1:\d+ in upstreams\[\]\.url/)
})

const secureAnswers: Readonly<Record<string, string | Buffer>> = {
  'an alert': Buffer.from('15030100020246', 'hex'),
  'a 400, as Go does': 'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n',
  'a 400, as nginx does':
    'HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>',
  'the end': '',
}

for (const [what, bytes] of Object.entries(secureAnswers)) {
  test(`http:// to a port that answers with ${what}: the message says what to write`, async (t) => {
    const port = await answering(t, bytes)
    await fails(
      t,
      `http://127.0.0.1:${port}/`,
      new RegExp(`https://127\\.0\\.0\\.1:${port} in upstreams\\[\\]\\.url`),
    )
  })
}

test('any other 400 is an answer', async (t) => {
  const server = await listen(t, (_request, response) => response.writeHead(400).end('bad tag'))
  const response = await transportTo(t, server.url).request({ method: 'GET', url: new URL(server.url) })
  response.discard()
  assert.equal(response.status, 400)
})

/** A server that answers `before`, and from the second connection on ends each without a byte. */
async function goingAway(t: TestContext, before: string): Promise<string> {
  let connections = 0
  const server = createServer((socket) => {
    socket.on('error', () => {})
    connections += 1
    const bytes = connections === 1 ? before : ''
    socket.once('data', () => socket.end(bytes))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

for (const status of ['200 OK', '400 Bad Request', '503 Service Unavailable']) {
  test(`http:// to a server that answered ${status} and goes away: nothing hints at TLS`, async (t) => {
    const url = await goingAway(t, `HTTP/1.1 ${status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok`)
    const transport = transportTo(t, url)
    const response = await transport.request({ method: 'GET', url: new URL(url) })
    response.discard()
    const next = transport.request({ method: 'GET', url: new URL(url) })
    await failsWith(next, 'UNREACHABLE', /^(?!.*TLS).*it closed the connection without an answer/)
  })
}

test('http:// to a port that said in plain http that it is for TLS: the hint stays', async (t) => {
  const refusal = 'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n'
  const url = await goingAway(t, refusal)
  const transport = transportTo(t, url)
  await failsWith(transport.request({ method: 'GET', url: new URL(url) }), 'UNREACHABLE', /speaks TLS/)
  await failsWith(transport.request({ method: 'GET', url: new URL(url) }), 'UNREACHABLE', /if .* speaks TLS/)
})

test('http:// to a server that breaks off its answer: nothing hints at TLS', async (t) => {
  const server = await listen(t, (request, response) => {
    response.writeHead(200, { 'content-length': 20 }).write('ok')
    setTimeout(() => request.socket.resetAndDestroy(), 50)
  })
  const response = await transportTo(t, server.url).request({ method: 'GET', url: new URL(server.url) })
  await failsWith(collect(response.body()), 'UNREACHABLE', /^(?!.*(?:TLS|without an answer))/)
})
