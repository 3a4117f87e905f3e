/**
 * The body of a request, as whoever takes it gets it. Thought of: pieces in their order; a taker that stops; a client that
 * leaves, or ends its side in the middle; a length that is not the body's; the rest of a body that was refused.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { drain, receiveBlob } from '../../src/http/receive-blob.ts'
import { RequestContext } from '../../src/http/request-context.ts'
import { ClientLeftError } from '../../src/http/send-blob.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { until } from '../support/settle.ts'
import { connected } from './request-log-fixture.ts'

const mebibyte = 1024 * 1024

/** One request that was begun, as the server has it, and the client's end of its connection. */
async function begin(head: string) {
  await using all = new AsyncDisposableStack()
  const server = createServer()
  all.defer(() => void server.close())
  all.defer(() => server.closeAllConnections())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const socket = await connected((server.address() as AddressInfo).port)
  all.defer(() => void socket.destroy())
  const asked = once(server, 'request')
  socket.write(`PATCH / HTTP/1.1\r\nHost: a\r\n${head}\r\n\r\n`)
  const [request, response] = await asked
  const context = new RequestContext(request, response)
  const owned = all.move()
  return {
    socket,
    context,
    request: request as IncomingMessage,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

async function collect(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = []
  for await (const piece of pieces) all.push(piece)
  return Buffer.concat(all)
}

const content = pseudoRandomBytes(3 * mebibyte, 'received')

test('a body comes as it was sent, with a length or in chunks', async () => {
  await using whole = await begin(`Content-Length: ${content.length}`)
  whole.socket.write(content)
  assert.equal(digestOf(await collect(receiveBlob(whole.context))), digestOf(content))
  assert.equal(whole.context.receivedBytes, content.length)
  await using chunked = await begin('Transfer-Encoding: chunked')
  for (let at = 0; at < content.length; at += 300_000) {
    const piece = content.subarray(at, at + 300_000)
    chunked.socket.write(`${piece.length.toString(16)}\r\n`)
    chunked.socket.write(piece)
    chunked.socket.write('\r\n')
  }
  chunked.socket.write('0\r\n\r\n')
  assert.equal(digestOf(await collect(receiveBlob(chunked.context))), digestOf(content))
})

test('whoever takes no more stops the client, and holds next to nothing of what it has to send', async () => {
  await using s = await begin(`Content-Length: ${256 * mebibyte}`)
  const piece = Buffer.alloc(mebibyte)
  for (let sent = 0; sent < 256; sent += 1) s.socket.write(piece)
  const body = receiveBlob(s.context)
  await body.next()
  let [last, same] = [-1, 0]
  const read = () => s.request.socket.bytesRead
  await until(() => {
    same = read() === last ? same + 1 : 0
    last = read()
    return same > 20
  })
  assert.ok(read() < 2 * mebibyte, `${read()} bytes were read`)
  let taken = 0
  for await (const { length } of body) {
    taken += length
    if (taken > 64 * mebibyte) break
  }
  assert.ok(read() < taken + 2 * mebibyte, `${read()} bytes were read, ${taken} taken`)
})

for (const [how, leave] of [
  ['resets its connection', (socket: import('node:net').Socket) => void socket.resetAndDestroy()],
  ['ends its side', (socket: import('node:net').Socket) => void socket.end()],
] as const) {
  for (const head of ['Content-Length: 5000', 'Transfer-Encoding: chunked']) {
    test(`a client that ${how} in the middle, with ${head}: what came, then that it has left`, async () => {
      await using s = await begin(head)
      const body = receiveBlob(s.context)
      s.socket.write(head.startsWith('C') ? 'hello' : '5\r\nhello\r\n')
      assert.equal(Buffer.from((await body.next()).value ?? []).toString(), 'hello')
      leave(s.socket)
      await assert.rejects(body.next(), ClientLeftError)
    })
  }
}

test('a body that is longer or shorter than was said: what is within it, then an error', async () => {
  for (const [length, got] of [
    [3, 'hel'],
    [0, ''],
    [9, 'hello'],
  ] as const) {
    await using s = await begin('Content-Length: 5')
    s.socket.write('hello')
    let text = ''
    await assert.rejects(
      async () => {
        for await (const piece of receiveBlob(s.context, { length })) text += Buffer.from(piece)
      },
      { code: 'SIZE_INVALID', status: 400 },
    )
    assert.equal(text, got)
  }
})

test('the rest of a refused body is read where it is short and comes at once', async () => {
  await using short = await begin('Content-Length: 100000')
  short.socket.write(Buffer.alloc(100_000))
  const timers = () => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  const before = timers()
  assert.equal(await drain(short.request, { bytes: mebibyte, ms: 5000 }), true)
  assert.equal(short.request.complete, true)
  assert.equal(timers(), before, 'the clock ends with it')
  await using long = await begin('Content-Length: 5000000')
  long.socket.write(Buffer.alloc(5_000_000))
  assert.equal(await drain(long.request, { bytes: mebibyte, ms: 5000 }), false)
  await using slow = await begin('Content-Length: 100')
  assert.equal(await drain(slow.request, { bytes: mebibyte, ms: 20 }), false)
  slow.socket.resetAndDestroy()
  await until(() => slow.request.socket.closed)
})
