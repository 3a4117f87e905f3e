/**
 * The pump of a body whose bytes are lent. Thought of: pieces that are lent, read, and both in turn; ends within a piece; a
 * client that takes nothing; scarce pieces; the last byte of what is not verified yet; a reader, a connection and a signal
 * that fail while a piece is on its way; an answer that waits behind another one; that each piece is used again, or never.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { Writable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import type { LentBytes } from '../../src/flow/lent-bytes.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import { BufferPool } from '../../src/http/buffer-pool.ts'
import { ClientLeftError, sendBlob } from '../../src/http/send-blob.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { until } from '../support/settle.ts'
import { mebibyte } from './request-log-fixture.ts'

const content = pseudoRandomBytes(3 * mebibyte, 'lent')
const pieceSize = 1024 * 1024
const broken = new Error('broken')

/** A reader that lends pieces of the content as they would lie in memory, where `isHeld` says so; all is checked at the end. */
function scene(
  t: TestContext,
  isHeld: (position: number) => boolean = () => true,
  change: Partial<BlobReader> = {},
) {
  const pieces = new Pieces({ isChecked: true })
  const pool = new BufferPool(16 * mebibyte, { isChecked: true })
  t.after(() => {
    pieces[Symbol.dispose]()
    pool[Symbol.dispose]()
  })
  const counts = { lent: 0, read: 0 }
  const reader: BlobReader = {
    size: content.length,
    isVerified: true,
    verified: async () => {},
    read: async (buffer, position) => {
      counts.read += 1
      const piece = content.subarray(position, position + buffer.length)
      buffer.set(piece)
      return piece.length
    },
    lend: async (position) => {
      if (!isHeld(position)) return undefined
      counts.lent += 1
      using piece = pieces.acquire()
      const start = position % 1000
      const part = content.subarray(position, position + piece.length - start)
      piece.bytes.set(part, start)
      return piece.share(start, start + part.length)
    },
    [Symbol.asyncDispose]: async () => {},
    ...change,
  }
  const controller = new AbortController()
  const sent = { bytes: 0, pendingBytes: 0 }
  const options = { pool, pieces, signal: controller.signal, sent }
  return { pieces, pool, reader, counts, options, controller }
}

/** The other end of a response; what it takes is looked at when it is taken, as the kernel does. */
function takerOf(mode: 'all' | 'by hand') {
  const taken: Buffer[] = []
  const pending: ((error?: Error) => void)[] = []
  const writable = new Writable({
    highWaterMark: 1,
    write(piece: Buffer, _, done) {
      const take = (error?: Error) => {
        taken.push(Buffer.from(piece))
        done(error)
      }
      if (mode === 'all') setImmediate(() => take())
      else pending.push(take)
    },
  })
  writable.on('error', () => {})
  return { response: writable as unknown as ServerResponse, writable, pending, taken }
}

const ways: Record<string, (position: number) => boolean> = {
  'all is lent': () => true,
  'nothing is lent': () => false,
  'some is lent and some is read': (position) => Math.floor(position / 700_000) % 2 === 0,
}
for (const [what, isHeld] of Object.entries(ways)) {
  for (const [start, end] of [
    [0, content.length],
    [17, 2 * mebibyte + 5],
    [5, 6],
  ] as const) {
    test(`bytes ${start} to ${end}, ${what}: they come in their order, and all memory is given back`, async (t) => {
      const taker = takerOf('all')
      const { reader, options, pieces, pool } = scene(t, isHeld)
      await sendBlob(taker.response, reader, { parts: [{ start, end }] }, options)
      assert.ok(Buffer.concat(taker.taken).equals(content.subarray(start, end)))
      assert.equal(taker.writable.writableEnded, true)
      assert.deepEqual(options.sent, { bytes: end - start, pendingBytes: 0 })
      assert.deepEqual([pieces.inUse, pool.inUse], [0, 0])
    })
  }
}

test('a lent piece is written as it is, without a buffer', async (t) => {
  const written: Uint8Array[] = []
  const { reader, options, pool, counts } = scene(t)
  const writable = new Writable({
    write(piece: Buffer, _, done) {
      written.push(piece)
      done()
    },
  })
  await sendBlob(
    writable as unknown as ServerResponse,
    reader,
    { parts: [{ start: 0, end: content.length }] },
    options,
  )
  assert.ok(written.every(({ buffer }) => buffer instanceof SharedArrayBuffer))
  assert.deepEqual([counts.read, pool.kept], [0, 0])
})

test('a client that takes nothing holds one lent piece', async (t) => {
  const taker = takerOf('by hand')
  const { reader, options, pieces, counts } = scene(t)
  const sending = sendBlob(taker.response, reader, { parts: [{ start: 0, end: content.length }] }, options)
  await until(() => taker.pending.length > 0)
  for (let turn = 0; turn < 10; turn += 1) await turnOfTheLoop()
  assert.deepEqual([counts.lent, pieces.inUse], [1, pieceSize])
  await until(() => {
    taker.pending.shift()?.()
    return taker.writable.writableEnded
  })
  await sending
  assert.ok(Buffer.concat(taker.taken).equals(content))
  assert.equal(pieces.inUse, 0)
})

test('where pieces are scarce all is read, and lent again when they are not', async (t) => {
  const { reader, options, counts } = scene(t)
  let isScarce = true
  const read: BlobReader['read'] = async (...asked) => {
    isScarce = asked[1] < mebibyte
    return reader.read(...asked)
  }
  const pieces = {
    get isScarce() {
      return isScarce
    },
  }
  const taker = takerOf('all')
  const changed = { ...reader, read }
  await sendBlob(
    taker.response,
    changed,
    { parts: [{ start: 0, end: content.length }] },
    { ...options, pieces },
  )
  assert.ok(Buffer.concat(taker.taken).equals(content))
  assert.ok(counts.read >= 2 && counts.lent >= 1, JSON.stringify(counts))
})

test('nothing is held while the last byte waits for the digest', async (t) => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const taker = takerOf('all')
  const { reader, options, pieces } = scene(t, undefined, { isVerified: false, verified: () => promise })
  const sending = sendBlob(taker.response, reader, { parts: [{ start: 0, end: content.length }] }, options)
  await until(() => options.sent.bytes === content.length - 1 && options.sent.pendingBytes === 0)
  for (let turn = 0; turn < 10; turn += 1) await turnOfTheLoop()
  assert.equal(pieces.inUse, 0)
  assert.equal(Buffer.concat(taker.taken).length, content.length - 1)
  resolve()
  await sending
  assert.ok(Buffer.concat(taker.taken).equals(content))
})

test('a wrong digest: the last byte is never sent', async (t) => {
  const taker = takerOf('all')
  const change = { isVerified: false, verified: () => Promise.reject(broken) }
  const { reader, options } = scene(t, undefined, change)
  await assert.rejects(
    sendBlob(taker.response, reader, { parts: [{ start: 0, end: content.length }] }, options),
    (error) => error === broken,
  )
  assert.equal(Buffer.concat(taker.taken).length, content.length - 1)
  assert.equal(taker.writable.writableEnded, false)
})

test('a reader that fails to lend: nothing is held', async (t) => {
  const taker = takerOf('all')
  const { reader, options, pieces } = scene(t)
  const lend = reader.lend
  let asked = 0
  const failing: BlobReader = {
    ...reader,
    lend: async (...parameters): Promise<LentBytes | undefined> => {
      asked += 1
      if (asked === 3) throw broken
      return lend?.(...parameters)
    },
  }
  await assert.rejects(
    sendBlob(taker.response, failing, { parts: [{ start: 0, end: content.length }] }, options),
    (error) => error === broken,
  )
  assert.equal(pieces.inUse, 0)
  assert.equal(taker.writable.writableEnded, false)
})

for (const [what, cut, expected] of [
  [
    'a connection that fails',
    ({ pending }: ReturnType<typeof takerOf>) => pending.shift()?.(broken),
    ClientLeftError,
  ],
  ['a client that is gone', (_: unknown, controller: AbortController) => controller.abort(broken), broken],
] as const) {
  test(`${what}: the piece whose write was cut is never used again`, async (t) => {
    const taker = takerOf('by hand')
    const { reader, options, pieces, controller } = scene(t)
    const sending = sendBlob(taker.response, reader, { parts: [{ start: 0, end: content.length }] }, options)
    await until(() => taker.pending.length > 0)
    cut(taker, controller)
    await assert.rejects(sending, expected)
    assert.deepEqual([pieces.inUse, pieces.kept], [0, 0])
    // Whoever still has it reads what was to be sent.
    taker.pending.shift()?.()
    for (const piece of taker.taken) assert.ok(piece.equals(content.subarray(0, piece.length)))
  })
}

test('an answer that waits behind another one, on a connection that ends: nobody tells of its write, and nothing is held', async (t) => {
  const { reader, options, pieces, controller } = scene(t)
  const sendings: Promise<void>[] = []
  let asked = 0
  await using server = createServer((_, response) => {
    response.writeHead(200, { 'content-length': content.length })
    asked += 1
    // The first answer does not go on: the second one waits behind it.
    if (asked === 2)
      sendings.push(sendBlob(response, reader, { parts: [{ start: 0, end: content.length }] }, options))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(address && typeof address === 'object')
  const client = connect(address.port, '127.0.0.1')
  client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until(() => sendings.length === 1 && pieces.inUse > 0)
  client.destroy()
  await until(async () => (await connectionsOf(server)) === 0)
  for (let turn = 0; turn < 10; turn += 1) await turnOfTheLoop()
  assert.equal(pieces.inUse, pieceSize, 'only the signal tells')
  controller.abort(broken)
  await assert.rejects(Promise.all(sendings), (error) => error === broken)
  assert.deepEqual([pieces.inUse, pieces.kept], [0, 0])
})

function connectionsOf(server: ReturnType<typeof createServer>): Promise<number> {
  return new Promise((resolve, reject) =>
    server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  )
}
