/**
 * Bytes on their way that are lent to their readers. Thought of: readers at the front, behind it, behind it and back; bytes
 * that come in any order; waits for bytes, aborts, ends; a size that is only a claim; a window; what a disk failure leaves;
 * that a hold outlives all of them, and that nothing is held when all have left.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Growing } from '../../src/content/growing.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import { ContinuedPartial } from '../../src/storage/memory/continued-partial.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { WindowPartial } from '../../src/storage/memory/window-partial.ts'
import { assertSameBytes, testBytes } from '../storage/files/storage-folder.ts'

const content = testBytes(3_000_000)
const digest = digestOf(content)
const settled = () => new Promise(setImmediate)

type Kind = 'a store' | 'a window'

/** Bytes that grow, written from recycled pieces; what is still held at the end of the test fails it. */
async function scene(t: TestContext, kind: Kind = 'a store') {
  const all = new AsyncDisposableStack()
  t.after(() => all.disposeAsync())
  const pieces = all.use(new Pieces({ isChecked: true }))
  const growing = new Growing()
  all.defer(() => growing.fail(new Error('the test is over')))
  const window = new WindowPartial({ id: 'w', algorithm: 'sha256', capacity: 1_000_000 })
  const partial =
    kind === 'a window'
      ? window
      : await new MemoryBlobStore().partials.open({ id: 'whole', algorithm: 'sha256' })
  all.defer(() => partial.discard(new Error('the test is over')))
  growing.attach(partial, { window: kind === 'a window' ? window : undefined })
  const reader = (size = content.length): BlobReader & Required<Pick<BlobReader, 'lend'>> => {
    const opened = growing.reader(size, 'docker.io')
    assert.ok(opened?.lend)
    all.use(opened)
    return opened as BlobReader & Required<Pick<BlobReader, 'lend'>>
  }
  /** In parts of at most `atOnce`, as a socket fills a piece. */
  const write = async (start: number, end: number, atOnce = 100_000): Promise<void> => {
    for (let position = start; position < end; ) {
      using piece = pieces.acquire()
      const whole = Math.min(piece.length, end - position)
      for (let filled = 0; filled < whole; ) {
        const length = Math.min(atOnce, whole - filled)
        piece.bytes.set(content.subarray(position + filled, position + filled + length), filled)
        using part = piece.share(filled, filled + length)
        await growing.write(position + filled, part)
        await settled()
        filled += length
      }
      position += whole
    }
  }
  return { all, growing, partial, pieces, reader, write }
}

/** Reads as a body is sent: what is lent, else what is read. */
async function follow(
  reader: BlobReader,
  {
    start = 0,
    end = reader.size,
    pause = async () => {},
  }: { start?: number; end?: number; pause?: () => Promise<void> } = {},
) {
  const parts: Buffer[] = []
  const counts = { lent: 0, read: 0 }
  for (let position = start; position < end; ) {
    using lent = await reader.lend?.(position)
    if (lent) {
      await pause()
      parts.push(Buffer.from(lent.bytes))
      counts.lent += lent.length
    } else {
      const buffer = Buffer.alloc(65_536)
      const count = await reader.read(buffer, position)
      await pause()
      parts.push(buffer.subarray(0, count))
      counts.read += count
    }
    position += parts.at(-1)?.length ?? 0
  }
  return { bytes: Buffer.concat(parts), counts }
}

for (const kind of ['a store', 'a window'] as const) {
  test(`${kind}: readers at the front are lent every byte`, async (t) => {
    const { reader, write } = await scene(t, kind)
    const following = [follow(reader()), follow(reader())]
    await write(0, content.length)
    for (const { bytes, counts } of await Promise.all(following)) {
      assertSameBytes(bytes, content)
      assert.deepEqual(counts, { lent: content.length, read: 0 })
    }
  })

  test(`${kind}: what was lent stays as it was, whatever becomes of the rest`, async (t) => {
    const { growing, partial, reader, write } = await scene(t, kind)
    const leaving = reader()
    await write(0, 300_000)
    using lent = await leaving.lend(1000)
    await leaving[Symbol.asyncDispose]()
    const reading = kind === 'a window' ? follow(reader(), { start: 1000, end: 2_500_000 }) : undefined
    await write(300_000, 2_500_000)
    await reading
    growing.fail(new Error('it failed'))
    await partial.discard(new Error('it failed'))
    assert.ok(lent && lent.length >= 100_000)
    assertSameBytes(lent.bytes, content.subarray(1000, 1000 + lent.length))
  })
}

test('a reader that falls behind reads what is not held any more, and is lent again at the front', async (t) => {
  const { reader, write } = await scene(t)
  const gate = Promise.withResolvers<void>()
  const following = follow(reader(), { pause: () => gate.promise })
  await write(0, 2_900_000)
  gate.resolve()
  const late = write(2_900_000, content.length)
  const { bytes, counts } = await following
  await late
  assertSameBytes(bytes, content)
  assert.ok(counts.read >= 500_000, JSON.stringify(counts))
  assert.ok(counts.lent >= 500_000, JSON.stringify(counts))
})

test('bytes in any order are lent, and those that were sent over others are not', async (t) => {
  const { growing, pieces, reader, write } = await scene(t)
  await write(100_000, 200_000)
  using piece = pieces.acquire()
  piece.bytes.fill(1)
  using wrong = piece.share(0, 300_000)
  piece.bytes.set(content.subarray(0, 100_000))
  piece.bytes.set(content.subarray(200_000, 300_000), 200_000)
  await growing.write(0, wrong)
  const { bytes } = await follow(reader(), { end: 300_000 })
  assertSameBytes(bytes.subarray(0, 300_000), content.subarray(0, 300_000))
})

test('a reader waits for the bytes at its position, says where, and wakes when they come', async (t) => {
  const { growing, reader, write } = await scene(t)
  const lending = reader().lend(1000)
  await write(0, 1000)
  await settled()
  assert.deepEqual(growing.wanted, [1000])
  await write(1000, 2000)
  using lent = await lending
  assert.ok(lent && lent.length >= 1)
  assertSameBytes(lent.bytes, content.subarray(1000, 1000 + lent.length))
  assert.deepEqual(growing.wanted, [])
})

test('an abort ends a wait with its reason, others go on, and nothing is held for who has left', async (t) => {
  const { pieces, growing, reader, write } = await scene(t)
  const leaving = new AbortController()
  const lending = reader().lend(0, leaving)
  const staying = reader().lend(0)
  const reason = new Error('left')
  leaving.abort(reason)
  await assert.rejects(lending, (error) => error === reason)
  await write(0, 1000)
  const lent = await staying
  growing.fail(new Error('over'))
  assert.ok(pieces.inUse > 0)
  lent?.release()
  assert.equal(pieces.inUse, 0)
})

test('a failure rejects who waits, and what is here is read', async (t) => {
  const { growing, reader, write } = await scene(t)
  await write(0, 1000)
  const waiting = reader().lend(1000)
  const reason = new Error('wrong bytes')
  growing.fail(reason)
  await assert.rejects(waiting, (error) => error === reason)
  await assert.rejects(reader().lend(1000), (error) => error === reason)
  assert.equal(await reader().lend(0), undefined)
  const { bytes } = await follow(reader(), { end: 1000 })
  assertSameBytes(bytes, content.subarray(0, 1000))
})

test('no reader is lent a byte behind the size that it goes by', async (t) => {
  const { growing, reader, write } = await scene(t)
  const following = reader(1500)
  await write(0, 3000)
  {
    using lent = await following.lend(1000)
    assert.equal(lent?.length, 500)
  }
  assert.equal(await following.lend(1500), undefined, 'the end is known')
  growing.verified(3000)
  await assert.rejects(following.verified(), /has 3000 bytes, and was said to have 1500/)
})

test('who was lent all of it needs no sync of the disk; who has read from the disk does', async (t) => {
  const { growing, reader, write } = await scene(t)
  const [front, behind] = [reader(), reader()]
  const following = follow(front)
  await write(0, content.length)
  await following
  await follow(behind)
  growing.verified(content.length)
  assert.deepEqual([front.isVerified, behind.isVerified], [true, false])
  growing.synced()
  assert.equal(behind.isVerified, true)
})

test('a window: its readers make room in it by what they are lent, and it forgets what all have passed', async (t) => {
  const { reader, write } = await scene(t, 'a window')
  const [one, other] = [reader(), reader()]
  const writing = write(0, 2_500_000)
  await follow(one, { end: 900_000 })
  const { bytes } = await follow(other, { end: 900_000 })
  assertSameBytes(bytes.subarray(0, 900_000), content.subarray(0, 900_000))
  await Promise.all([
    follow(one, { start: 900_000, end: 2_400_000 }),
    follow(other, { start: 900_000, end: 2_400_000 }),
  ])
  await writing
  await assert.rejects(one.lend(0), RangeError)
})

test('where the disk has failed, what only that has is read, and what came since is lent', async (t) => {
  const { all, growing, partial, reader, write } = await scene(t)
  await write(0, 1_000_000)
  await growing.pause()
  const following = reader()
  const remains = await partial.detach(new Error('the disk failed'))
  const before = { bytes: remains.hashedUntil, hash: remains.hash() }
  const window = new WindowPartial({ id: 'whole', algorithm: 'sha256', capacity: 1_000_000, before })
  const continued = new ContinuedPartial({ remains, window, algorithm: 'sha256' })
  all.use(continued)
  growing.attach(continued, { window: continued })
  const reading = follow(following)
  await write(1_000_000, content.length)
  const { bytes, counts } = await reading
  assertSameBytes(bytes, content)
  assert.deepEqual(counts, { lent: 2_000_000, read: 1_000_000 })
  await continued.verify(digest)
})
