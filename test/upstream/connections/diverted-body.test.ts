import assert from 'node:assert/strict'
import { EventEmitter, getEventListeners } from 'node:events'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { TLSSocket } from 'node:tls'
import { Pieces } from '../../../src/flow/pieces.ts'
import type { TransportResponse } from '../../../src/upstream/connections/exchange.ts'
import type { Transport } from '../../../src/upstream/connections/transport.ts'
import { pseudoRandomBytes } from '../../support/images.ts'
import { until } from '../../support/settle.ts'
import { collect, failsWith, selfSigned, transportTo } from '../fixtures.ts'
import { forwardProxy } from './forward-proxy.ts'
import { type RawRequest, type RawServer, rawServer } from './raw-server.ts'

const certificate = await selfSigned('IP:127.0.0.1,DNS:registry.test')
const body = Buffer.from(pseudoRandomBytes(300_000, 'body'))

function answer(bytes: Uint8Array, { length = bytes.length, status = '200 OK', fields = '' } = {}): Buffer {
  const head = `HTTP/1.1 ${status}\r\nContent-Length: ${length}\r\n${fields}\r\n`
  return Buffer.concat([Buffer.from(head), bytes])
}

const whole = ({ socket }: RawRequest) => socket.write(answer(body))
const half = ({ socket }: RawRequest) => socket.write(answer(body.subarray(0, 150_000), { length: 300_000 }))

function ask(transport: Transport, server: RawServer, signal?: AbortSignal): Promise<TransportResponse> {
  return transport.request({ method: 'GET', url: server.url, isLent: true, signal })
}

async function read(transport: Transport, server: RawServer): Promise<void> {
  assert.ok((await collect((await ask(transport, server)).lent())).equals(body))
}

test('a long blob comes into pieces by itself, and a short one only when it is read', async (t) => {
  for (const [length, isDiverted] of [
    [300_000, true],
    [1000, false],
  ] as const) {
    const server = await rawServer(t, ({ socket }) => socket.write(answer(body.subarray(0, length))))
    const pieces = new Pieces({ isChecked: true })
    const response = await ask(transportTo(t, server.url.href, { pieces }), server)
    assert.equal(pieces.inUse > 0, isDiverted)
    assert.equal((await collect(response.lent())).length, length)
    assert.equal(pieces.inUse, 0)
  }
})

for (const tls of [undefined, certificate]) {
  const over = tls ? ' over TLS' : ''

  test(`a kept connection serves blobs, HEAD, answers that are let go of and small ones in any order${over}`, async (t) => {
    const server = await rawServer(
      t,
      ({ socket, line }) => {
        const [method = '', path = ''] = line.split(' ')
        const status = /^\/([45]\d\d)/.exec(path)?.[1]
        if (method === 'HEAD') socket.write(answer(Buffer.alloc(0), { length: body.length }))
        else if (status) socket.write(answer(Buffer.from('no'), { status: `${status} No` }))
        else socket.write(answer(path === '/small' ? body.subarray(0, 100) : body))
      },
      tls,
    )
    const transport = transportTo(t, server.url.href, { ca: certificate.cert })
    for (const path of ['/', '/404', '/', 'HEAD', '/', '/416', '/small', '/503', '/', '/small', '/']) {
      const method = path === 'HEAD' ? 'HEAD' : 'GET'
      const url = new URL(path, server.url)
      const response = await transport.request({ method, url, isLent: true })
      if (response.status === 200 && method === 'GET') {
        const bytes = await collect(response.lent())
        assert.ok(bytes.equals(path === '/small' ? body.subarray(0, 100) : body))
      } else {
        response.discard()
        await until(() => server.requests.length > 0)
        // Its few bytes are read behind the back of whoever has let go of it.
        await turn()
        await turn()
      }
    }
    assert.ok(server.connections() <= 2, `${server.connections()} connections`)
  })

  for (const [what, close] of Object.entries({
    'a reset': ({ plain }: RawRequest) => plain.resetAndDestroy(),
    'an end': ({ socket }: RawRequest) => socket.end(),
  })) {
    test(`${what} in place of an answer on a connection that was kept after a blob: it is asked again on a new one${over}`, async (t) => {
      const seen = new Set<number>()
      const server = await rawServer(
        t,
        (request) => {
          if (seen.has(request.connection)) close(request)
          else whole(request)
          seen.add(request.connection)
        },
        tls,
      )
      const transport = transportTo(t, server.url.href, { ca: certificate.cert })
      for (let count = 0; count < 3; count += 1) await read(transport, server)
      assert.deepEqual(server.requests, [1, 1, 2, 2, 3])
    })
  }

  test(`a connection that its other end closes while it lies idle is noticed, and no request goes there${over}`, async (t) => {
    const server = await rawServer(
      t,
      (request) => {
        whole(request)
        request.socket.end()
      },
      tls,
    )
    const transport = transportTo(t, server.url.href, { ca: certificate.cert })
    await read(transport, server)
    await until(() => server.open() === 0)
    await read(transport, server)
    assert.deepEqual(server.requests, [1, 2])
  })

  test(`whoever has all bytes of a span and leaves keeps the connection; who leaves before closes it${over}`, async (t) => {
    const server = await rawServer(t, whole, tls)
    const transport = transportTo(t, server.url.href, { ca: certificate.cert })
    for (const wanted of [body.length, body.length, 1, body.length]) {
      let received = 0
      for await (const lent of (await ask(transport, server)).lent()) {
        received += lent.length
        if (received >= wanted && wanted === body.length) break
        if (wanted === 1) break
      }
      if (wanted === 1 && received < body.length) await until(() => server.open() === 0)
    }
    assert.equal(server.requests[1], 1)
  })

  test(`ends: a signal, a stop, letting go, the end of the mirror${over}`, async (t) => {
    const server = await rawServer(t, half, tls)
    const settings = { ca: certificate.cert, stallMs: 60_000 }
    const isClosed = () => until(() => server.open() === 0)

    const leaving = new AbortController()
    const aborted = (await ask(transportTo(t, server.url.href, settings), server, leaving.signal)).lent()
    await aborted.next()
    const reason = new Error('enough')
    const next = collect(aborted)
    leaving.abort(reason)
    await assert.rejects(next, reason)
    await isClosed()
    assert.equal(getEventListeners(leaving.signal, 'abort').length, 0)

    const stopped = await ask(transportTo(t, server.url.href, settings), server)
    const parts = stopped.lent()
    let received = (await parts.next()).value?.length ?? 0
    while (received < 150_000) received += (await parts.next()).value?.length ?? 0
    stopped.stop()
    assert.equal((await parts.next()).done, true)
    await isClosed()

    ;(await ask(transportTo(t, server.url.href, settings), server)).discard()
    await isClosed()

    const early = await ask(transportTo(t, server.url.href, settings), server)
    for await (const _ of early.lent()) break
    await isClosed()

    const transport = transportTo(t, server.url.href, settings)
    const cut = collect((await ask(transport, server)).lent())
    transport[Symbol.dispose]()
    await failsWith(cut, 'UNREACHABLE', /Content-Length mismatch/)
    await isClosed()
  })

  test(`a taker that is slower than the stall time is no stall, and holds the sender back${over}`, async (t) => {
    const size = 64 * 1024 * 1024
    let sent = 0
    const server = await rawServer(
      t,
      async ({ socket }) => {
        socket.write(answer(Buffer.alloc(0), { length: size }))
        for (const piece = Buffer.alloc(65_536, 'x'); sent < size; sent += piece.length)
          if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve))
      },
      tls,
    )
    const pieces = new Pieces({ isChecked: true })
    const transport = transportTo(t, server.url.href, { ca: certificate.cert, stallMs: 1000, pieces })
    const parts = (await ask(transport, server)).lent()
    let received = (await parts.next()).value?.length ?? 0
    let before = -1
    await until(
      () => {
        const isAtRest = sent === before
        before = sent
        return isAtRest
      },
      { intervalMs: 1100, timeoutMs: 20_000 },
    )
    assert.ok(sent < size / 2, `${sent} bytes sent`)
    assert.ok(pieces.inUse <= 7 * 1024 * 1024, `${pieces.inUse} bytes in use`)
    for await (const lent of parts) received += lent.length
    assert.equal(received, size)
  })
}

test('no listener stays on a signal that many blobs share', async (t) => {
  const server = await rawServer(t, whole)
  const transport = transportTo(t, server.url.href)
  const { signal } = new AbortController()
  for (let count = 0; count < 3; count += 1) {
    const response = await ask(transport, server, signal)
    if (count === 1) response.discard()
    else await collect(response.lent())
  }
  await until(() => getEventListeners(signal, 'abort').length === 0)
})

test('where a rate is kept no more is asked for before it may come', async (t) => {
  const server = await rawServer(t, whole)
  const waiting: (() => void)[] = []
  let paced = 0
  const pace = (bytes: number): Promise<void> => {
    paced += bytes
    return new Promise((resolve) => waiting.push(resolve))
  }
  const transport = transportTo(t, server.url.href)
  const response = await transport.request({ method: 'GET', url: server.url, isLent: true, pace })
  const reading = collect(response.lent())
  let allowed = 0
  while (paced < body.length) {
    await until(() => waiting.length > 0 || paced === body.length)
    assert.ok(paced <= allowed + 3 * 65_536, `${paced} bytes came when ${allowed} were allowed`)
    allowed = paced
    for (const go of waiting.splice(0)) go()
  }
  assert.ok((await reading).equals(body))
  for (const go of waiting.splice(0)) go()
  await read(transport, server)
  assert.equal(server.connections(), 1)
})

test('behind a proxy for http blobs are diverted and the connection is kept; behind a tunnel they come as streams', async (t) => {
  for (const tls of [undefined, certificate]) {
    const server = await rawServer(t, whole, tls)
    // A proxy for http is itself the other end.
    const proxy = tls ? (await forwardProxy(t, () => server.port)).url : server.url.href
    const pieces = new Pieces({ isChecked: true })
    const url = new URL(`${tls ? 'https' : 'http'}://registry.test/`)
    const transport = transportTo(t, url.href, {
      ca: certificate.cert,
      pieces,
      proxyEnvironment: { HTTP_PROXY: proxy, HTTPS_PROXY: proxy },
    })
    for (let count = 0; count < 3; count += 1) {
      const response = await transport.request({ method: 'GET', url, isLent: true })
      assert.equal(pieces.inUse > 0, tls === undefined)
      assert.ok((await collect(response.lent())).equals(body))
    }
    assert.equal(server.connections(), 1)
  }
})

test('the chunks that come through a tunnel are freed when the parser has copied them', async (t) => {
  const server = await rawServer(t, whole, certificate)
  const proxy = await forwardProxy(t, () => server.port)
  const url = new URL('https://registry.test/')
  const transport = transportTo(t, url.href, {
    ca: certificate.cert,
    proxyEnvironment: { HTTPS_PROXY: proxy.url },
  })
  const chunks: Uint8Array[] = []
  let received = 0
  const emit = t.mock.method(
    TLSSocket.prototype,
    'emit',
    function (this: TLSSocket, event: string, ...args: unknown[]) {
      const [chunk] = args
      if (event === 'data' && chunk instanceof Uint8Array && chunk.length >= 4096) {
        received += chunk.length
        chunks.push(chunk)
      }
      return EventEmitter.prototype.emit.call(this, event, ...args)
    },
  )
  const response = await transport.request({ method: 'GET', url, isLent: true })
  assert.ok((await collect(response.lent())).equals(body))
  emit.mock.restore()
  assert.ok(received > 200_000, `${received} bytes were seen`)
  assert.ok(chunks.every(({ length }) => length === 0))
})
