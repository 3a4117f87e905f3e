/**
 * The pump of a body. Thought of: bytes in their order whatever the reader gives at a time; a client that takes nothing;
 * scarce buffers; the last byte of what is not verified yet; a reader that fails, ends early or is aborted; a connection
 * that fails; what becomes of the buffers in each case.
 */
import assert from 'node:assert/strict'
import type { ServerResponse } from 'node:http'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { setImmediate as turnOfTheLoop } from 'node:timers/promises'
import { BufferPool } from '../../src/http/buffer-pool.ts'
import { ClientLeftError, sendBlob } from '../../src/http/send-blob.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { until } from '../support/settle.ts'
import { mebibyte } from './request-log-fixture.ts'

const content = pseudoRandomBytes(3 * mebibyte, 'sent')

/** Gives at most `atOnce` bytes of the content a read. */
function readerOf(change: Partial<BlobReader> = {}, atOnce = Number.POSITIVE_INFINITY) {
  const reader: BlobReader = {
    size: content.length,
    isVerified: true,
    verified: async () => {},
    read: async (buffer, position) => {
      const piece = content.subarray(position, position + Math.min(buffer.length, atOnce))
      buffer.set(piece)
      return piece.length
    },
    [Symbol.asyncDispose]: async () => {},
    ...change,
  }
  return reader
}

/** The other end of a response. What it takes is copied when it is taken: the buffer is used again afterwards. */
function takerOf(mode: 'all' | 'by hand') {
  const pieces: Buffer[] = []
  const pending: ((error?: Error) => void)[] = []
  const writable = new Writable({
    highWaterMark: 1,
    write(piece: Buffer, _, done) {
      const take = (error?: Error) => {
        pieces.push(Buffer.from(piece))
        done(error)
      }
      if (mode === 'all') setImmediate(() => take())
      else pending.push(take)
    },
  })
  writable.on('error', () => {})
  return { response: writable as unknown as ServerResponse, writable, pending, pieces }
}

function optionsOf(pool = new BufferPool(16 * mebibyte), signal = new AbortController().signal) {
  return { pool, pieces: { isScarce: false }, signal, sent: { bytes: 0, pendingBytes: 0 } }
}

for (const [start, end, atOnce] of [
  [0, content.length, Number.POSITIVE_INFINITY],
  [0, content.length, 100_001],
  [17, 2 * mebibyte + 5, 65_537],
  [5, 6, 1],
] as const) {
  test(`bytes ${start} to ${end}, at most ${atOnce} a read: they come in their order, and the buffers are back`, async () => {
    const taker = takerOf('all')
    const options = optionsOf()
    await sendBlob(taker.response, readerOf({}, atOnce), { parts: [{ start, end }] }, options)
    assert.ok(Buffer.concat(taker.pieces).equals(content.subarray(start, end)))
    assert.equal(taker.writable.writableEnded, true)
    assert.deepEqual(options.sent, { bytes: end - start, pendingBytes: 0 })
    assert.equal(options.pool.inUse, 0)
    assert.ok(options.pool.kept > 0)
  })
}

for (const [what, capacity, buffers] of [
  ['plenty', 64, 2],
  ['scarce', 1, 1],
] as const) {
  test(`a client that takes nothing, while buffers are ${what}: it holds ${buffers}`, async () => {
    const pool = new BufferPool(capacity * mebibyte)
    const others = what === 'scarce' ? Array.from({ length: 20 }, () => pool.acquire(60_000)) : []
    const before = pool.inUse
    const taker = takerOf('by hand')
    const options = optionsOf(pool)
    let reads = 0
    const inner = readerOf()
    const reader = readerOf({
      read: (...asked) => {
        reads += 1
        return inner.read(...asked)
      },
    })
    const sending = sendBlob(taker.response, reader, { parts: [{ start: 0, end: content.length }] }, options)
    await until(() => reads >= buffers)
    for (let turn = 0; turn < 10; turn += 1) await turnOfTheLoop()
    assert.equal(reads, buffers)
    const size = what === 'scarce' ? 64 * 1024 : mebibyte
    assert.equal(pool.inUse - before, buffers * size)
    assert.equal(options.sent.pendingBytes, size)
    await until(() => {
      taker.pending.shift()?.()
      return taker.writable.writableEnded
    })
    await sending
    assert.ok(Buffer.concat(taker.pieces).equals(content))
    assert.equal(pool.inUse, before)
    for (const buffer of others) buffer.release()
  })
}

test('few bytes take a small buffer, wherever they are', async () => {
  for (const start of [0, 2 * mebibyte]) {
    const options = optionsOf()
    const held: number[] = []
    const inner = readerOf()
    const reader = readerOf({
      read: (...asked) => {
        held.push(options.pool.inUse)
        return inner.read(...asked)
      },
    })
    await sendBlob(takerOf('all').response, reader, { parts: [{ start, end: start + 10 }] }, options)
    assert.deepEqual(held, [16 * 1024])
  }
})

test('the last byte waits until the digest is verified', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const taker = takerOf('all')
  const reader = readerOf({ isVerified: false, verified: () => promise })
  const options = optionsOf()
  const sending = sendBlob(taker.response, reader, { parts: [{ start: 0, end: content.length }] }, options)
  await until(() => options.sent.bytes === content.length - 1 && options.sent.pendingBytes === 0)
  for (let turn = 0; turn < 10; turn += 1) await turnOfTheLoop()
  assert.equal(Buffer.concat(taker.pieces).length, content.length - 1)
  assert.equal(taker.writable.writableEnded, false)
  resolve()
  await sending
  assert.ok(Buffer.concat(taker.pieces).equals(content))
})

test('several parts, each behind its own head, and a tail: whatever the reader gives at a time', async () => {
  const parts = [
    { start: 2 * mebibyte, end: content.length, head: Buffer.from('first ') },
    { start: 0, end: 1, head: Buffer.from(' second ') },
    { start: 10, end: 200_000, head: Buffer.from(' third ') },
  ]
  const tail = Buffer.from(' end')
  const expected = Buffer.concat([
    ...parts.flatMap(({ start, end, head }) => [head, content.subarray(start, end)]),
    tail,
  ])
  for (const atOnce of [Number.POSITIVE_INFINITY, 65_537]) {
    const taker = takerOf('all')
    const options = optionsOf()
    await sendBlob(taker.response, readerOf({}, atOnce), { parts, tail }, options)
    assert.ok(Buffer.concat(taker.pieces).equals(expected))
    assert.deepEqual([taker.writable.writableEnded, options.pool.inUse], [true, 0])
    assert.deepEqual(options.sent, { bytes: expected.length, pendingBytes: 0 })
  }
})

test('a client that takes nothing of a thousand parts holds two small buffers', async () => {
  const parts = Array.from({ length: 1000 }, (_, n) => ({
    start: n * 3000,
    end: n * 3000 + 1000,
    head: Buffer.from('head'),
  }))
  const taker = takerOf('by hand')
  const options = optionsOf()
  let reads = 0
  const inner = readerOf()
  const read: BlobReader['read'] = (...asked) => {
    reads += 1
    return inner.read(...asked)
  }
  const sending = sendBlob(taker.response, readerOf({ read }), { parts }, options)
  await until(() => reads >= 2)
  for (let turn = 0; turn < 10; turn += 1) await turnOfTheLoop()
  assert.deepEqual([reads, options.pool.inUse], [2, 2 * 16 * 1024])
  await until(() => {
    taker.pending.shift()?.()
    return taker.writable.writableEnded
  })
  await sending
  assert.equal(Buffer.concat(taker.pieces).length, 1000 * 1004)
})

const inside = [
  { start: 0, end: 1000 },
  { start: 2000, end: 3000 },
]
const toTheEnd = [
  { start: content.length - 1000, end: content.length },
  { start: 0, end: 1000 },
]
for (const [what, parts, givesParts, isHeldBack] of [
  ['parts inside, of a reader that gives parts', inside, true, false],
  ['parts inside, of one that does not', inside, false, true],
  ['parts inside, of one that does not say', inside, undefined, true],
  ['parts with the last byte, of a reader that gives parts', toTheEnd, true, true],
] as const) {
  test(`${what}: ${isHeldBack ? 'the last byte waits for the digest' : 'they are whole before the digest is verified'}`, async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const taker = takerOf('all')
    let isAsked = false
    const verified = (): Promise<void> => {
      isAsked = true
      return promise
    }
    const options = optionsOf()
    const tail = Buffer.from('tail')
    const sending = sendBlob(
      taker.response,
      readerOf({ isVerified: false, givesParts, verified }),
      { parts, tail },
      options,
    )
    if (isHeldBack) {
      await until(() => isAsked)
      for (let turn = 0; turn < 10; turn += 1) await turnOfTheLoop()
      assert.equal(Buffer.concat(taker.pieces).length, 1999)
      resolve()
    }
    await sending
    assert.deepEqual([Buffer.concat(taker.pieces).length, isAsked], [2004, isHeldBack])
  })
}

const broken = new Error('broken')
for (const [what, change, expected] of [
  ['fails', { read: () => Promise.reject(broken) }, broken],
  ['ends early', { read: async () => 0 }, /ended at 0 of/],
  ['finds another digest', { isVerified: false, verified: () => Promise.reject(broken) }, broken],
] as const) {
  test(`a reader that ${what}: the body is not ended, and its buffers are not lent again`, async () => {
    const taker = takerOf('all')
    const options = optionsOf()
    const sending = sendBlob(
      taker.response,
      readerOf(change),
      { parts: [{ start: 0, end: content.length }] },
      options,
    )
    await assert.rejects(sending, expected)
    assert.equal(taker.writable.writableEnded, false)
    assert.equal(options.pool.inUse, 0)
    assert.ok(Buffer.concat(taker.pieces).length < content.length)
  })
}

test('a connection that fails is the leaving of the client', async () => {
  const taker = takerOf('by hand')
  const options = optionsOf()
  const sending = sendBlob(
    taker.response,
    readerOf(),
    { parts: [{ start: 0, end: content.length }] },
    options,
  )
  await until(() => taker.pending.length > 0)
  taker.pending.shift()?.(new Error('reset'))
  await assert.rejects(sending, ClientLeftError)
  assert.deepEqual([options.pool.inUse, options.pool.kept], [0, 0])
})

test('who is gone is noticed while nothing is taken, and before anything is read', async () => {
  const taker = takerOf('by hand')
  const leaving = new AbortController()
  const options = optionsOf(undefined, leaving.signal)
  const sending = sendBlob(
    taker.response,
    readerOf(),
    { parts: [{ start: 0, end: content.length }] },
    options,
  )
  await until(() => taker.pending.length > 0)
  leaving.abort(broken)
  await assert.rejects(sending, broken)
  assert.deepEqual([options.pool.inUse, options.pool.kept], [0, 0])
  const late = sendBlob(takerOf('all').response, readerOf(), { parts: [{ start: 0, end: 1 }] }, options)
  await assert.rejects(late, broken)
  assert.equal(options.pool.inUse, 0)
})

for (const what of ['bytes', 'the digest'] as const) {
  test(`who is gone is noticed while ${what} of a blob on its way are waited for`, async () => {
    const leaving = new AbortController()
    const heard: (AbortSignal | undefined)[] = []
    const wait = ({ signal }: { signal?: AbortSignal } = {}) => {
      heard.push(signal)
      return new Promise<never>((_, reject) =>
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true }),
      )
    }
    const change =
      what === 'bytes'
        ? {
            read: (_buffer: Uint8Array, _position: number, options?: { signal?: AbortSignal }) =>
              wait(options),
          }
        : { isVerified: false, verified: wait }
    const options = optionsOf(undefined, leaving.signal)
    const sending = sendBlob(
      takerOf('all').response,
      readerOf(change),
      { parts: [{ start: 0, end: 1 }] },
      options,
    )
    await until(() => heard.length > 0)
    assert.deepEqual(heard, [leaving.signal])
    leaving.abort(broken)
    await assert.rejects(sending, broken)
  })
}
