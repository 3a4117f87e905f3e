import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { RequestListener, ServerResponse } from 'node:http'
import { test } from 'node:test'
import { setInterval, setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { deferred } from '../../../src/flow/deferred.ts'
import { TokenBucket } from '../../../src/flow/token-bucket.ts'
import type { TransportResponse } from '../../../src/upstream/connections/exchange.ts'
import { readBody } from '../../../src/upstream/connections/read-body.ts'
import type { Transport } from '../../../src/upstream/connections/transport.ts'
import { until } from '../../support/settle.ts'
import { collect, failsWith, listen, transportTo } from '../fixtures.ts'

const mebibyte = 1024 * 1024

function get(transport: Transport, url: string, signal?: AbortSignal): Promise<TransportResponse> {
  return transport.request({ method: 'GET', url: new URL(url), signal })
}

/** Writes for ever, or `size` bytes, as fast as the peer takes them; returns what was written. */
async function pour(response: ServerResponse, size = Number.POSITIVE_INFINITY): Promise<number> {
  const piece = Buffer.alloc(65_536, 'x')
  const closed = once(response, 'close').then(() => false)
  let written = 0
  while (written < size) {
    const isTaken = response.write(piece) || (await Promise.race([once(response, 'drain'), closed]))
    if (!isTaken) return written
    written += piece.length
  }
  response.end()
  return written
}

test('we ask for the bytes as they are, and say who we are', async (t) => {
  const server = await listen(t, (_request, response) => void response.end())
  const response = await get(transportTo(t, server.url), server.url)
  response.discard()
  const { headers, method } = server.requests[0] ?? {}
  assert.equal(method, 'GET')
  assert.equal(headers?.['accept-encoding'], 'identity')
  assert.equal(headers?.['user-agent'], 'larder/test')
  assert.equal(headers?.authorization, undefined)
})

test('what arrives compressed all the same is passed on as it is', async (t) => {
  const packed = gzipSync('x'.repeat(10_000))
  const server = await listen(t, (_request, response) =>
    response.writeHead(200, { 'content-encoding': 'gzip', 'content-length': packed.length }).end(packed),
  )
  const response = await get(transportTo(t, server.url), server.url)
  assert.deepEqual(await collect(response.body()), packed)
})

test('what is read without a pace is owed to the rate, and what has one pays by that', async (t) => {
  const server = await listen(t, (_request, response) => void response.end(Buffer.alloc(100_000)))
  const rate = new TokenBucket(Number.MAX_SAFE_INTEGER)
  const charged = t.mock.method(rate, 'charge')
  const owed = () => charged.mock.calls.reduce((sum, { arguments: [bytes] }) => sum + (bytes ?? 0), 0)
  const transport = transportTo(t, server.url, { rate })
  const plain = await get(transport, server.url)
  await collect(plain.body())
  assert.equal(owed(), 100_000)
  const paced = t.mock.fn(async (_bytes: number) => {})
  const url = new URL(server.url)
  const blob = await transport.request({ method: 'GET', url, pace: paced, isLent: true })
  for await (const lent of blob.lent()) assert.ok(lent.length > 0)
  assert.equal(
    paced.mock.calls.reduce((sum, { arguments: [bytes] }) => sum + bytes, 0),
    100_000,
  )
  assert.equal(owed(), 100_000)
})

for (const status of [200, 206, 304, 400, 404, 416, 429, 500, 503]) {
  test(`a ${status} is an answer, not an error`, async (t) => {
    const server = await listen(t, (_request, response) => response.writeHead(status).end())
    const response = await get(transportTo(t, server.url), server.url)
    assert.equal(response.status, status)
    assert.equal((await collect(response.body())).length, 0)
    assert.equal(server.requests.length, 1)
  })
}

test('a server that accepts a request and says nothing is given up after the stall time', async (t) => {
  const server = await listen(t, () => {})
  const began = performance.now()
  const asking = get(transportTo(t, server.url, { stallMs: 300, patienceMs: 60_000 }), server.url)
  await failsWith(asking, 'TIMED_OUT', /no answer within 0\.3 s/)
  const took = performance.now() - began
  // A timer counts from when its turn of the loop began, which may be a while ago.
  assert.ok(took >= 150, `${took} ms`)
})

test('a body that stops is given up after the stall time; what came before is delivered', async (t) => {
  const server = await listen(t, (_request, response) => void response.write('abc'))
  const response = await get(transportTo(t, server.url, { stallMs: 1000, patienceMs: 60_000 }), server.url)
  const body = response.body()
  assert.equal((await body.next()).value?.toString(), 'abc')
  const began = performance.now()
  await failsWith(body.next(), 'TIMED_OUT', /no byte for 1 s/)
  const took = performance.now() - began
  assert.ok(took >= 500, `${took} ms`)
})

test('a body that trickles is never given up', async (t) => {
  const server = await listen(t, async (_request, response) => {
    for (let count = 0; count < 8; count += 1) {
      response.write('a')
      await sleep(250)
    }
    response.end()
  })
  const response = await get(transportTo(t, server.url, { stallMs: 1000 }), server.url)
  assert.equal((await collect(response.body())).toString(), 'a'.repeat(8))
})

test('a taker that is slower than the stall time is no stall, and holds the sender back', async (t) => {
  const stallMs = 1000
  const poured = deferred<number>()
  const size = 64 * mebibyte
  const server = await listen(t, (_request, response) => void pour(response, size).then(poured.resolve))
  const sockets = once(server.server, 'connection')
  const response = await get(transportTo(t, server.url, { stallMs }), server.url)
  const [socket] = await sockets
  const body = response.body()
  let read = (await body.next()).value?.length ?? 0
  let sent = -1
  for await (const _ of setInterval(1.2 * stallMs)) {
    if (sent === socket.bytesWritten) break
    sent = socket.bytesWritten
  }
  const state = await Promise.race([poured.promise, sleep(0, 'held back')])
  assert.equal(state, 'held back')
  // From now on a gap is the machine's.
  t.mock.timers.enable({ apis: ['setTimeout'] })
  for await (const chunk of body) read += chunk.length
  assert.equal(read, size)
})

const breaks: Readonly<Record<string, (response: ServerResponse) => void>> = {
  'a reset': (response) => response.socket?.resetAndDestroy(),
  'an early end': (response) => response.socket?.end(),
}

for (const [what, breakOff] of Object.entries(breaks)) {
  test(`${what} before the headers is UNREACHABLE`, async (t) => {
    const server = await listen(t, (_request, response) => breakOff(response))
    await failsWith(get(transportTo(t, server.url), server.url), 'UNREACHABLE')
    assert.equal(server.requests.length, 1)
  })

  for (const length of [10, undefined]) {
    test(`${what} in a body ${length ? 'with a length' : 'without one'} is UNREACHABLE, after all that came`, async (t) => {
      const sent = deferred<ServerResponse>()
      const server = await listen(t, (_request, response) => {
        if (length) response.setHeader('content-length', length)
        response.write('abc', () => sent.resolve(response))
      })
      const response = await get(transportTo(t, server.url), server.url)
      const body = response.body()
      assert.equal((await body.next()).value?.toString(), 'abc')
      breakOff(await sent.promise)
      await failsWith(body.next(), 'UNREACHABLE')
    })
  }
}

test('nobody listens: UNREACHABLE, with a message that says so', async (t) => {
  const server = await listen(t, () => {})
  server.server.close()
  await failsWith(get(transportTo(t, server.url), server.url), 'UNREACHABLE', /ECONNREFUSED/)
})

test('a name that does not exist is UNREACHABLE, with a message that says so', async (t) => {
  const url = 'http://registry.invalid/'
  await failsWith(get(transportTo(t, url), url), 'UNREACHABLE', /registry\.invalid/)
})

test('what is no HTTP is UNREACHABLE', async (t) => {
  const server = await listen(t, (_request, response) => void response.socket?.end('SSH-2.0-OpenSSH\r\n'))
  await failsWith(get(transportTo(t, server.url), server.url), 'UNREACHABLE')
})

test('headers beyond what Node.js takes are UNREACHABLE', async (t) => {
  const challenge = `Bearer realm="${'a'.repeat(65_536)}"`
  const server = await listen(t, (_request, response) =>
    response.writeHead(401, { 'www-authenticate': challenge }).end(),
  )
  await failsWith(get(transportTo(t, server.url), server.url), 'UNREACHABLE', /[Hh]eader/)
})

const endings: Readonly<Record<string, RequestListener>> = {
  'that tells its length': (_request, response) => {
    response.setHeader('content-length', 64 * mebibyte)
    void pour(response, 64 * mebibyte)
  },
  'without end': (_request, response) => void pour(response),
}

for (const [what, handler] of Object.entries(endings)) {
  test(`a body beyond the limit ${what} is invalid, and little more than the limit is read`, async (t) => {
    const server = await listen(t, handler)
    const sockets = once(server.server, 'connection')
    const response = await get(transportTo(t, server.url), server.url)
    await failsWith(readBody(response, 'docker.io', mebibyte), 'INVALID_RESPONSE', /more than 1048576 bytes/)
    const [socket] = await sockets
    await until(() => socket.destroyed)
    // The rest is what the kernel holds for both ends.
    assert.ok(socket.bytesWritten < 32 * mebibyte, `${socket.bytesWritten} bytes`)
  })
}

test('a body of exactly the limit is read', async (t) => {
  const server = await listen(t, (_request, response) => void response.end('x'.repeat(mebibyte)))
  const response = await get(transportTo(t, server.url), server.url)
  assert.equal((await readBody(response, 'docker.io', mebibyte)).length, mebibyte)
})

test('a signal that aborted before ends the request before anything is sent', async (t) => {
  const server = await listen(t, (_request, response) => void response.end())
  const reason = new Error('enough')
  await assert.rejects(get(transportTo(t, server.url), server.url, AbortSignal.abort(reason)), reason)
  assert.equal(server.requests.length, 0)
})

test('a signal ends the wait for an answer with its reason, and the connection', async (t) => {
  const arrived = deferred<ServerResponse>()
  const server = await listen(t, (_request, response) => arrived.resolve(response))
  const controller = new AbortController()
  const request = get(transportTo(t, server.url), server.url, controller.signal)
  const closed = once(await arrived.promise, 'close')
  const reason = new Error('enough')
  controller.abort(reason)
  await assert.rejects(request, reason)
  await closed
})

test('a signal ends a body with its reason, and the connection', async (t) => {
  const arrived = deferred<ServerResponse>()
  const server = await listen(t, (_request, response) => {
    response.write('abc')
    arrived.resolve(response)
  })
  const controller = new AbortController()
  const response = await get(transportTo(t, server.url), server.url, controller.signal)
  const body = response.body()
  await body.next()
  const closed = once(await arrived.promise, 'close')
  const next = body.next()
  const reason = new Error('enough')
  controller.abort(reason)
  await assert.rejects(next, reason)
  await closed
})

test('a body that is left early ends the connection', async (t) => {
  const arrived = deferred<ServerResponse>()
  const server = await listen(t, (_request, response) => {
    arrived.resolve(response)
    void pour(response)
  })
  const response = await get(transportTo(t, server.url), server.url)
  for await (const _ of response.body()) break
  const held = await arrived.promise
  if (!held.closed) await once(held, 'close')
})
