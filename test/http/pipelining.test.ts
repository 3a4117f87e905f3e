/**
 * What a client sends behind a request whose answer is under way. Thought of: a body that runs, and an answer that has no
 * headers yet, each with a request behind it that is ambiguous, malformed, too long, only begun, without a Host, with an
 * expectation nobody knows, or in order; bodies of questions that nobody takes; more requests than may wait, on one
 * connection and on many.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { pino } from 'pino'
import { Admission } from '../../src/http/admission.ts'
import { processDescriptors } from '../../src/http/descriptors.ts'
import { Listener } from '../../src/http/listener.ts'
import { Pipelining } from '../../src/http/pipelining.ts'
import { TrustedProxies } from '../../src/http/trusted-proxies.ts'
import { pull } from '../support/client.ts'
import { buildImage, pseudoRandomBytes } from '../support/images.ts'
import { until } from '../support/settle.ts'
import { connected, get, mebibyte, start } from './request-log-fixture.ts'

const behind: Readonly<Record<string, string>> = {
  'two Host headers': 'GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
  'no Host header': 'GET /v2/ HTTP/1.1\r\n\r\n',
  'an absolute target': 'GET http://evil/v2/ HTTP/1.1\r\nHost: a\r\n\r\n',
  'a bare line feed': 'GET /v2/ HTTP/1.1\nHost: a\n\n',
  'no HTTP at all': '\u0016\u0003\u0001 hello\r\n\r\n',
  'headers of 17 KiB': `GET /v2/ HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(17 * 1024)}\r\n\r\n`,
  'a malformed chunk': 'PUT /v2/a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnone\r\n\r\n',
  'an expectation that nobody knows': 'GET /v2/ HTTP/1.1\r\nHost: a\r\nExpect: rain\r\n\r\n',
  'half a request': 'GET /v2/ HTTP/1.1\r\nHos',
}

/** All that comes until the other side closes, or so many bytes are there. */
async function received(
  socket: Socket,
  enough = Number.POSITIVE_INFINITY,
  timeoutMs = 9000,
): Promise<Buffer> {
  const pieces: Buffer[] = []
  let length = 0
  socket.on('data', (piece: Buffer) => {
    pieces.push(piece)
    length += piece.length
  })
  socket.resume()
  await until(() => socket.closed || length >= enough, { timeoutMs })
  return Buffer.concat(pieces)
}

for (const [what, text] of Object.entries(behind)) {
  test(`behind a body that runs comes ${what}: nothing gets into the body`, async () => {
    await using s = await start()
    const content = pseudoRandomBytes(12 * mebibyte, 'running')
    const blob = s.hub.addBlob('library/app', content)
    const path = `/v2/library/app/blobs/${blob.digest}`
    await pull(s.mirror.url + path)
    const socket = await connected(s.mirror.port)
    socket.pause()
    socket.write(get(path))
    // It is read by nobody: what comes next finds the body in the middle.
    await until(async () => (await s.mirror.metric('larder_transfer_buffers_bytes')) > 0)
    socket.write(Buffer.from(text, 'latin1'))
    await until(async () => (await pull(`${s.mirror.url}/v2/`)).status === 200)
    const bytes = await received(socket, content.length + 300)
    const body = bytes.subarray(bytes.indexOf('\r\n\r\n') + 4)
    assert.match(bytes.subarray(0, 15).toString(), /^HTTP\/1\.1 200 OK/)
    const length = Math.min(body.length, content.length)
    assert.ok(body.subarray(0, length).equals(content.subarray(0, length)), 'the body is that of the blob')
    const next = body.subarray(length).toString('latin1', 0, 20)
    assert.match(next, /^(?:HTTP\/1\.1 [24]\d\d .*)?$/s, 'the next answer comes behind the whole body')
    socket.destroy()
  })

  test(`behind an answer that has not begun comes ${what}: the first answer is its own, or none`, async () => {
    await using s = await start()
    const image = buildImage()
    s.hub.addImage('library/app', 'latest', image)
    using hold = s.hub.hold({ listener: 'registry', path: /manifests/ })
    const socket = await connected(s.mirror.port)
    socket.write(get('/v2/library/app/manifests/latest'))
    await hold.reached
    socket.write(Buffer.from(text, 'latin1'))
    await until(async () => (await pull(`${s.mirror.url}/v2/`)).status === 200)
    hold.release()
    const manifest = Buffer.from(image.manifest.bytes).toString('latin1')
    const answer = (await received(socket, manifest.length)).toString('latin1')
    if (answer !== '') assert.ok(answer.startsWith('HTTP/1.1 200 ') && answer.includes(manifest), answer)
    socket.destroy()
  })
}

test('many requests on one connection, few at a time: each is answered in its order', async () => {
  await using s = await start()
  const blobs = Array.from({ length: 30 }, (_, n) =>
    s.hub.addBlob('library/app', pseudoRandomBytes(3000 + n, `piece ${n}`)),
  )
  const socket = await connected(s.mirror.port)
  const asked = blobs.map(({ digest }) => get(`/v2/library/app/blobs/${digest}`)).join('')
  socket.write(asked + get('/v2/', 'Connection: close\r\n'))
  // Thirty blobs are fetched, one after the other.
  const all = await received(socket, undefined, 60_000)
  const digests = [...all.toString('latin1').matchAll(/docker-content-digest: (\S+)/g)].map(([, d]) => d)
  assert.deepEqual(
    digests,
    blobs.map(({ digest }) => digest),
  )
})

test('20 connections with 600 requests each that read nothing: nothing is opened for them, and they are closed', async () => {
  await using s = await start()
  const blob = s.hub.addBlob('library/app', pseudoRandomBytes(12 * mebibyte, 'flood'))
  const path = `/v2/library/app/blobs/${blob.digest}`
  await pull(s.mirror.url + path)
  const descriptors = () => readdirSync('/proc/self/fd').length
  const before = descriptors()
  let most = 0
  const sockets = await Promise.all(Array.from({ length: 20 }, () => connected(s.mirror.port)))
  for (const socket of sockets) socket.pause().write(get(path).repeat(600))
  await until(
    async () => {
      most = Math.max(most, descriptors())
      return (await s.mirror.metric('larder_clients_let_go_total')) === 20
    },
    { timeoutMs: 20_000 },
  )
  assert.ok(most - before < 100, `${most - before} descriptors`)
  for (const socket of sockets) socket.destroy()
  await until(() => s.mirror.app.underWay.requests === 0)
})

/** A server whose first answer is never sent. */
async function stuck(pipelining: Pipelining) {
  await using all = new AsyncDisposableStack()
  const seen = { arrived: 0, answered: 0 }
  const server = createServer(
    pipelining.around(
      () => {
        seen.arrived += 1
      },
      () => {
        seen.answered += 1
      },
    ),
  )
  all.defer(() => void server.close())
  all.defer(() => server.closeAllConnections())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const owned = all.move()
  const { port } = server.address() as AddressInfo
  return { seen, port, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

test('what waits on all connections together is bounded, and what leaves makes room', async () => {
  let excess = 0
  const pipelining = new Pipelining({ perConnection: 5, inAll: 8, onExcess: () => excess++ })
  await using s = await stuck(pipelining)
  const send = async (count: number) => {
    const socket = await connected(s.port)
    socket.write(get('/').repeat(count))
    return socket
  }
  const first = await send(6)
  await until(() => s.seen.arrived === 6)
  await send(4)
  await until(() => s.seen.arrived === 10)
  assert.equal(s.seen.answered, 2, 'one of each connection')
  const third = (await send(3)).resume()
  await until(() => third.closed)
  assert.equal(excess, 1)
  first.destroy()
  await until(async () => {
    const before = s.seen.arrived
    const socket = await send(6)
    await until(() => socket.closed || s.seen.arrived === before + 6)
    return !socket.closed
  })
})

test('one client cannot hold all room for what waits: another one gets its own, and a share is left alone', async () => {
  const excess: string[] = []
  const pipelining = new Pipelining({
    perConnection: 5,
    inAll: 8,
    onExcess: ({ remoteAddress }) => excess.push(String(remoteAddress)),
  })
  await using s = await stuck(pipelining)
  const send = async (localAddress: string, count: number) => {
    const socket = connect({ port: s.port, host: '127.0.0.1', localAddress })
    socket.on('error', () => {})
    await once(socket, 'connect')
    socket.resume().write(get('/').repeat(count))
    return socket
  }
  const flood = [await send('127.0.0.2', 6), await send('127.0.0.2', 4)]
  await until(() => s.seen.arrived === 10)
  const other = await send('127.0.0.3', 5)
  await until(() => s.seen.arrived === 15)
  assert.deepEqual(excess, ['127.0.0.2'])
  await until(() => flood.some(({ closed }) => closed))
  const more = await send('127.0.0.2', 5)
  await until(() => more.closed || flood.every(({ closed }) => closed))
  assert.equal(other.closed, false, 'who has no more than others is left alone')
  assert.deepEqual(new Set(excess), new Set(['127.0.0.2']))
})

for (const method of ['GET', 'HEAD']) {
  test(`the body of a ${method} is waited for by nobody: the connection ends with the answer`, async () => {
    await using s = await start()
    for (const head of ['Content-Length: 1000000', 'Transfer-Encoding: chunked']) {
      const socket = await connected(s.mirror.port)
      socket.write(`${method} /v2/ HTTP/1.1\r\nHost: a\r\n${head}\r\n\r\n`)
      const answer = await received(socket)
      assert.match(answer.toString(), /^HTTP\/1\.1 200 /)
      assert.match(answer.toString(), /\r\nconnection: close\r\n/i)
    }
  })
}

test('headers that do not come whole are waited for a while, and a whole request is answered meanwhile', async () => {
  const letGo: string[] = []
  const onLetGo = (reason: string) => void letGo.push(reason)
  const logger = pino({ level: 'silent' })
  const descriptors = processDescriptors()
  await using listener = await Listener.open(
    { onArrival: () => {}, answer: (_, response) => void response.end('whole') },
    {
      addresses: [{ host: '127.0.0.1', port: 0 }],
      tls: undefined,
      graceMs: 0,
      headersMs: 2000,
      connectionsPerClient: 1000,
      admission: new Admission({ descriptors, patienceMs: 1000, onShortage: () => {}, onLetGo, logger }),
      proxies: new TrustedProxies([]),
      onCut: () => {},
      onLetGo,
      logger,
    },
  )
  const [port = 0] = listener.ports
  const sockets = await Promise.all(
    Array.from({ length: 300 }, async (_, n) => {
      const socket = await connected(port)
      // At once: the time of each runs from when it was connected, whenever the last of them is.
      if (n > 0) socket.write('GET / HTTP/1.1\r\nHost: a\r\nX-')
      return socket
    }),
  )
  const [, half] = sockets
  assert.ok(half)
  assert.equal((await pull(`http://127.0.0.1:${port}/`)).text, 'whole')
  assert.match((await received(half)).toString(), /^HTTP\/1\.1 408 /)
  await until(() => sockets.every((socket) => socket.resume().closed))
  assert.deepEqual(letGo, Array(sockets.length).fill('headers'))
})
