import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import type { Partial } from '../../src/storage/partial.ts'
import type { OpenStore } from './blob-store.contract.ts'
import { assertSameBytes, readAll, testBytes } from './files/storage-folder.ts'

const content = testBytes(3_000_000)
const digest = digestOf(content)
const whole = { id: 'whole', algorithm: 'sha256', size: content.length } as const
const settled = () => new Promise(setImmediate)

function readerOf(partial: Partial): BlobReader {
  const reader = partial.reader()
  assert.ok(reader)
  return reader
}

/** Whether a promise is still open after all that is ready has run. */
async function isWaiting(promise: Promise<unknown>): Promise<boolean> {
  let done = false
  promise.then(
    () => (done = true),
    () => (done = true),
  )
  for (let i = 0; i < 5; i += 1) await settled()
  return !done
}

/** What those who read a partial may rely on while it arrives, and when it ends. */
export function partialReaderContract(open: OpenStore): void {
  test('readers that follow, from any position, slow and fast, get exactly the bytes', async (t) => {
    const { store } = await open(t)
    await using partial = await store.openPartial(whole)
    const follow = async (start: number, pieceSize: number, beforeEach = async () => {}) => {
      await using reader = readerOf(partial)
      const slow: BlobReader = {
        ...reader,
        read: async (...parameters) => {
          await beforeEach()
          return reader.read(...parameters)
        },
      }
      assertSameBytes(await readAll(slow, start, pieceSize), content.subarray(start), `from ${start}`)
    }
    const late = Promise.withResolvers<void>()
    const readers = [
      follow(0, 1 << 20),
      follow(0, 65_536),
      follow(0, 10_007, async () => void (await settled())),
      follow(1_500_000, 100_000),
      follow(2_999_000, 7),
      follow(0, 65_536, () => late.promise),
    ]
    const chunk = 50_000
    const order = Array.from({ length: content.length / chunk }, (_, i) => i * chunk)
    // Mostly in order, with one run that comes early.
    order.unshift(...order.splice(30, 4))
    for (const at of order) await partial.write(at, content.subarray(at, at + chunk))
    await partial.seal(digest)
    late.resolve()
    await Promise.all(readers)
  })

  test('a reader waits for the bytes at its position, and wakes when they come', async (t) => {
    const { store } = await open(t)
    await using partial = await store.openPartial(whole)
    await using reader = readerOf(partial)
    const buffer = Buffer.alloc(100)
    const reading = reader.read(buffer, 1000)
    await partial.write(0, content.subarray(0, 1000))
    await partial.write(1001, content.subarray(1001, 2000))
    assert.equal(await isWaiting(reading), true)
    await partial.write(1000, content.subarray(1000, 1001))
    const count = await reading
    assert.ok(count >= 1)
    assertSameBytes(buffer.subarray(0, count), content.subarray(1000, 1000 + count))
  })

  test('bytes that an earlier chunk brought are there at once, before the hole is closed', async (t) => {
    const { store } = await open(t)
    await using partial = await store.openPartial(whole)
    await partial.write(2_000_000, content.subarray(2_000_000))
    await using reader = readerOf(partial)
    const buffer = Buffer.alloc(1000)
    const count = await reader.read(buffer, 2_500_000)
    assertSameBytes(buffer.subarray(0, count), content.subarray(2_500_000, 2_500_000 + count))
    assert.equal(await reader.read(buffer, content.length), 0, 'the end is known')
  })

  test('isVerified and verified tell of the seal, not of the last byte', async (t) => {
    const { store } = await open(t)
    await using partial = await store.openPartial(whole)
    await using reader = readerOf(partial)
    assert.equal(reader.size, content.length)
    const verified = reader.verified()
    await partial.write(0, content)
    assert.equal(reader.isVerified, false)
    assert.equal(await isWaiting(verified), true)
    await partial.seal(digest)
    await verified
    assert.equal(reader.isVerified, true)
  })

  test('an abort ends one wait with its reason; other readers and the partial do not notice', async (t) => {
    const { store } = await open(t)
    await using partial = await store.openPartial(whole)
    await using leaving = readerOf(partial)
    await using staying = readerOf(partial)
    const controller = new AbortController()
    const { signal } = controller
    const reads = [leaving.read(Buffer.alloc(10), 0, { signal }), leaving.verified({ signal })]
    const stays = staying.read(Buffer.alloc(10), 0)
    const reason = new Error('left')
    controller.abort(reason)
    for (const read of reads) await assert.rejects(read, (error) => error === reason)
    await partial.write(0, content)
    assert.equal(await stays, 10)
    await assert.rejects(leaving.read(Buffer.alloc(10), 0, { signal }), (error) => error === reason)
    assert.equal(await leaving.read(Buffer.alloc(10), 0), 10, 'without that signal it reads on')
  })

  test('open readers survive the seal, and the removal of the blob', async (t) => {
    const { store } = await open(t)
    await using partial = await store.openPartial(whole)
    await using reader = readerOf(partial)
    await partial.write(0, content)
    await partial.seal(digest)
    await store.delete(digest)
    assertSameBytes(await readAll(reader), content)
    assert.equal(partial.reader(), undefined, 'who comes later opens the blob')
  })

  for (const end of ['suspend', 'discard'] as const) {
    test(`${end}: readers that wait reject with the reason; what is present can still be read`, async (t) => {
      const { store } = await open(t)
      const partial = await store.openPartial(whole)
      await using reader = readerOf(partial)
      await partial.write(0, content.subarray(0, 2_000_000))
      const waits = [reader.read(Buffer.alloc(1), 2_000_000), reader.verified()]
      const outcomes = Promise.allSettled(waits)
      const reason = new Error('the fill failed')
      await partial[end](reason)
      for (const outcome of await outcomes) assert.deepEqual(outcome, { status: 'rejected', reason })
      await assert.rejects(reader.read(Buffer.alloc(1), 2_000_000), (error) => error === reason)
      await assert.rejects(reader.verified(), (error) => error === reason)
      const buffer = Buffer.alloc(1000)
      for (const at of [0, 1_999_000]) {
        assert.equal(await reader.read(buffer, at), 1000)
        assertSameBytes(buffer, content.subarray(at, at + 1000))
      }
      assert.equal(partial.reader(), undefined)
    })
  }

  test('no reader gets a byte behind the size, whatever was written there', async (t) => {
    const { store } = await open(t)
    await using partial = await store.openPartial({ ...whole, size: 1000 })
    await using reader = readerOf(partial)
    await partial.write(0, content.subarray(0, 2000))
    assertSameBytes(await readAll(reader), content.subarray(0, 1000))
    assert.equal(await reader.read(Buffer.alloc(10), 1000), 0)
    assert.equal(await reader.read(Buffer.alloc(10), 1500), 0)
    await partial.discard(new Error('too long'))
  })

  test('where the size is unknown there is no reader', async (t) => {
    const { store } = await open(t)
    await using partial = await store.openPartial({ ...whole, size: undefined })
    await partial.write(0, content)
    assert.equal(partial.reader(), undefined)
  })

  test('a read of no bytes returns 0 and does not wait', async (t) => {
    const { store } = await open(t)
    await using partial = await store.openPartial(whole)
    await using reader = readerOf(partial)
    assert.equal(await reader.read(Buffer.alloc(0), 0), 0)
  })
}
