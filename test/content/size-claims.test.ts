// What is claimed of a size destroys nothing. Neighbours that were thought of: a claim below, at and above what is here,
// at 0; the upstream tells the size or does not; it tells another one than the descriptor, or than before; what is here
// is more than all; a hole in the middle, at the front, several; a client that went by a wrong size.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { besidePartialId, partialId } from '../../src/content/fill-options.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { lent } from '../support/lent.ts'
import { until } from '../support/settle.ts'
import { blobsOver, good, scripted } from './scripted-source.ts'

const size = 400_000
const content = testBytes(size, 51)
const digest = digestOf(content)
const kept = 360_000

async function leave(store: MemoryBlobStore, runs: readonly (readonly [number, number])[], bytes = content) {
  const partial = await store.partials.open({ id: partialId(digest), algorithm: 'sha256' })
  for (const [start, end] of runs) await partial.write(start, lent(bytes.subarray(start, end)))
  await partial.suspend(new Error('stopped'))
}

for (const claim of [0, 5, kept - 1, kept, kept + 1, size - 1, size, size + 1, 10 * size]) {
  for (const tells of [true, false]) {
    test(`nine tenths are here, a request says ${claim} bytes, the upstream ${tells ? 'tells' : 'tells no'} size: only the rest is fetched`, async (t) => {
      const store = new MemoryBlobStore()
      await leave(store, [[0, kept]])
      const blobs = blobsOver(t, store, { patienceMs: 50 })
      const source = scripted('evil/x', (position) => {
        if (position >= size) throw new UpstreamError('INVALID_RESPONSE', 'evil/x', 'range', { status: 416 })
        return { size: tells ? size : undefined, bytes: content }
      })
      const lied = await blobs.open(digest, source, { size: claim }).catch(() => undefined)
      await lied?.reader[Symbol.asyncDispose]()
      await until(() => blobs.fillCount === 0)
      const { reader } = await blobs.open(digest, good('good/x', content), { size })
      assertSameBytes(await readAll(reader), content)
      await reader[Symbol.asyncDispose]()
      // Where nobody tells but the liar, one end too early costs what came after all.
      const isMisled = !tells && claim > kept && claim < size
      if (!isMisled) assert.equal(source.given, size - kept)
    })
  }
}

test('a client that goes by a wrong size gets no end, one that goes by the right one does', async (t) => {
  for (const claim of [size - 70_000, size + 70_000]) {
    const blobs = blobsOver(t, new MemoryBlobStore(), { patienceMs: 1 })
    const gate = Promise.withResolvers<void>()
    const source = scripted('x/x', async () => {
      await gate.promise
      return { size, bytes: content }
    })
    // The upstream has not answered: each goes by what its own descriptor says.
    const [lied, right] = await Promise.all([
      blobs.open(digest, source, { size: claim }),
      blobs.open(digest, source, { size }),
    ])
    gate.resolve()
    assert.ok(lied && right)
    assert.deepEqual([lied.reader.size, right.reader.size], [claim, size])
    await assert.rejects(
      readAll(lied.reader).then(() => lied.reader.verified()),
      /was said to have/,
    )
    assertSameBytes(await readAll(right.reader), content)
    await right.reader.verified()
    await Promise.all([lied, right].map(({ reader }) => reader[Symbol.asyncDispose]()))
  }
})

test('more is here than there is: the blob is fetched beside it, and it goes when that has verified', async (t) => {
  const store = new MemoryBlobStore()
  const rubbish = testBytes(2 * size, 52)
  await leave(store, [[0, size + 50_000]], rubbish)
  const blobs = blobsOver(t, store)
  const source = good('x/x', content)
  const opened = await blobs.open(digest, source).catch(() => undefined)
  await opened?.reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  const { reader, status } = await blobs.open(digest, source)
  assert.equal(status, 'hit')
  assertSameBytes(await readAll(reader), content)
  assert.deepEqual(await store.partials.list(), [])
  assert.equal(source.given, size)
})

test('a liar who says that there is less than is here takes nothing away', async (t) => {
  const store = new MemoryBlobStore()
  await leave(store, [[0, kept]])
  const blobs = blobsOver(t, store)
  const liar = scripted('liar/x', () => ({ start: 0, size: 5, bytes: Buffer.from('hello') }))
  const opened = await blobs.open(digest, liar, { size: 5 }).catch(() => undefined)
  await opened?.reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  const honest = good('good/x', content)
  const { reader } = await blobs.open(digest, honest)
  assertSameBytes(await readAll(reader), content)
  await reader[Symbol.asyncDispose]()
  assert.equal(honest.given, size - kept)
})

for (const isKnown of [true, false]) {
  test(`holes are asked for as what they are, and no byte beside them, the size being ${isKnown ? 'known' : 'unknown'}`, async (t) => {
    const store = new MemoryBlobStore()
    await leave(store, [
      [40_000, 120_000],
      [160_000, 380_000],
    ])
    const blobs = blobsOver(t, store)
    const source = good('x/x', content)
    const { reader } = await blobs.open(digest, source, isKnown ? { size } : {})
    assertSameBytes(await readAll(reader), content)
    await reader.verified()
    await reader[Symbol.asyncDispose]()
    assert.deepEqual(source.asked, [0, 120_000, 380_000])
    assert.deepEqual(source.ends, [40_000, 160_000, undefined])
    assert.equal(source.given, 40_000 + 40_000 + 20_000)
  })
}

test('a whole partial that was not sealed is sealed without a question, whatever size anybody says', async (t) => {
  for (const claim of [undefined, 5, size, 2 * size]) {
    const store = new MemoryBlobStore()
    await leave(store, [[0, size]])
    const blobs = blobsOver(t, store)
    const source = good('x/x', content)
    const opened = await blobs.open(digest, source, { size: claim }).catch(() => undefined)
    await opened?.reader[Symbol.asyncDispose]()
    await until(() => blobs.fillCount === 0)
    const { reader, status } = await blobs.open(digest, source, { size })
    assert.deepEqual([status, reader.size, source.asked], ['hit', size, []])
  }
})

test('one upstream says that there is more than there is: the other one is not asked again and again, and is believed in the end', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const longer = scripted('longer/x', (position) => {
    if (position >= size) throw new UpstreamError('UNREACHABLE', 'longer/x', 'it broke off')
    return { size: size + 7, bytes: Buffer.concat([content, Buffer.alloc(7)]), until: size }
  })
  const honest = scripted('good/x', (position) => {
    if (position >= size) return { start: 0, size, bytes: content }
    return { size, bytes: content }
  })
  const openings = [blobs.open(digest, longer), blobs.open(digest, honest)]
  for (const opening of openings) await (await opening).reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  assert.equal((await blobs.stat(digest))?.size, size)
  assert.ok(honest.asked.length <= 6, `${honest.asked.length} questions`)
})

test('an upstream says that there is more than there is, and then no longer: it and the other one are believed at once', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const corrected = scripted('corrected/x', (_position, _query, nth) =>
    nth === 1
      ? { size: size + 7, bytes: Buffer.concat([content, Buffer.alloc(7)]), until: size }
      : { size, bytes: content },
  )
  const honest = good('good/x', content)
  const openings = [blobs.open(digest, corrected), blobs.open(digest, honest)]
  for (const opening of openings) await (await opening).reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  assert.equal((await blobs.stat(digest))?.size, size)
  const questions = corrected.asked.length + honest.asked.length
  assert.ok(questions <= 3, `${questions} questions`)
})

test('an upstream that once, in the middle, tells less than is here already is asked again, and nobody notices', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const source = scripted('x/x', (_position, _query, nth) => {
    if (nth === 1) return { size, bytes: content, until: size / 2 }
    return nth === 2 ? { start: 0, size: 12_345, bytes: Buffer.alloc(12_345) } : { size, bytes: content }
  })
  const { reader } = await blobs.open(digest, source)
  assertSameBytes(await readAll(reader), content)
  await reader.verified()
  await reader[Symbol.asyncDispose]()
  assert.deepEqual(source.asked, [0, size / 2, size / 2])
})

for (const more of [1, 50_000]) {
  test(`a descriptor says ${more} bytes more than there are, and its end is asked for: what is here of the rest stays`, async (t) => {
    const store = new MemoryBlobStore()
    await leave(store, [
      [0, 150_000],
      [380_000, size],
    ])
    const blobs = blobsOver(t, store, { patienceMs: 50 })
    const source = scripted('x/x', (position) => {
      if (position >= size) throw new UpstreamError('INVALID_RESPONSE', 'x/x', 'range', { status: 416 })
      return { size, bytes: content }
    })
    const claim = size + more
    const { reader } = await blobs.open(digest, source, {
      size: claim,
      ranges: [{ start: size - 10, end: claim }],
    })
    await assert.rejects(
      readAll(reader, size - 10).then(() => reader.verified()),
      /was said to have/,
    )
    await reader[Symbol.asyncDispose]()
    await until(() => blobs.fillCount === 0)
    assert.ok(await blobs.stat(digest))
    assert.equal(source.given, 230_000)
    assert.deepEqual(await store.partials.list(), [])
  })
}

test('what was begun beside another partial goes, too, when that one has verified', async (t) => {
  const store = new MemoryBlobStore()
  await leave(store, [[0, kept]])
  const beside = await store.partials.open({ id: besidePartialId(digest), algorithm: 'sha256' })
  await beside.write(0, lent(content.subarray(0, 1000)))
  await beside.suspend(new Error('stopped'))
  const blobs = blobsOver(t, store)
  const { reader } = await blobs.open(digest, good('x/x', content))
  assertSameBytes(await readAll(reader), content)
  await reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  assert.deepEqual(await store.partials.list(), [])
})

test('bytes that an upstream contradicts are not what whoever comes next begins with, however soon each one leaves', async (t) => {
  const store = new MemoryBlobStore()
  const blobs = blobsOver(t, store, { finishFrom: 2 })
  await leave(store, [[0, size]], testBytes(size, 53))
  const source = scripted('x/x', (position) => {
    if (position >= size) throw new UpstreamError('INVALID_RESPONSE', 'x/x', 'range', { status: 416 })
    return { bytes: content }
  })
  const pull = async (): Promise<Uint8Array> => {
    const { reader } = await blobs.open(digest, source, { size })
    await using opened = reader
    const bytes = await readAll(opened)
    await opened.verified()
    return bytes
  }
  await assert.rejects(pull(), /contradicts/)
  await until(() => blobs.fillCount === 0)
  assertSameBytes(await pull(), content)
  await until(() => blobs.fillCount === 0)
  assert.deepEqual(await store.partials.list(), [])
})
