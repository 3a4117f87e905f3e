// A disk that takes no bytes, and descriptors that are short for a moment. Neighbours that were thought of: at the open,
// in the middle, at the seal; full, read-only, broken, busy; one client and ten, early and late; a client that takes
// nothing, one that leaves, one that reads from the middle; room again later.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Growing } from '../../src/content/growing.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import { StorageError, type StorageErrorCode } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { WindowPartial } from '../../src/storage/memory/window-partial.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { assertReleased, lent } from '../support/lent.ts'
import { until } from '../support/settle.ts'
import { blobsOver, good, scripted } from './scripted-source.ts'

const size = 12_000_000
const content = testBytes(size, 61)
const digest = digestOf(content)

async function assertGives(reader: BlobReader, start = 0): Promise<void> {
  const bytes = await readAll(reader, start, 1 << 20)
  await reader.verified()
  await reader[Symbol.asyncDispose]()
  assertSameBytes(bytes, content.subarray(start))
}

/** A store whose steps of these names fail while `isFailing`. */
function failingStore(code: StorageErrorCode, names: readonly string[]) {
  const state = { isFailing: true, failed: 0 }
  const store = new MemoryBlobStore({
    step: async (name) => {
      if (!state.isFailing || !names.includes(name)) return
      state.failed += 1
      throw new StorageError(code, `${name} failed`)
    },
  })
  return { state, store }
}

for (const name of ['open-partial', 'open', 'rename']) {
  test(`descriptors are short for a moment at "${name}": ten clients wait, the blob crosses once and is kept`, async (t: TestContext) => {
    const { state, store } = failingStore('BUSY', [name])
    const blobs = blobsOver(t, store)
    const source = good('x/x', content)
    const openings = Array.from({ length: 10 }, () => blobs.open(digest, source, { size }))
    await until(() => state.failed > 1)
    state.isFailing = false
    await Promise.all(openings.map(async (opening) => assertGives((await opening).reader)))
    await until(() => blobs.fillCount === 0)
    assert.equal((await blobs.open(digest, source, { size })).status, 'hit')
    assert.equal(source.given, size)
  })
}

test('a disk that is slow at first: what the line has brought by then is not asked for once more', async (t) => {
  for (const slowWrites of [1, 2, 10]) {
    const now = performance.now.bind(performance)
    let passedMs = 0
    let writes = 0
    const clock = t.mock.method(performance, 'now', () => now() + passedMs)
    const store = new MemoryBlobStore({
      step: async (step) => {
        if (step !== 'write' || ++writes > slowWrites) return
        passedMs += 300
      },
    })
    const source = good('x/x', content)
    const { reader } = await blobsOver(t, store).open(digest, source, { size })
    await assertGives(reader)
    assert.deepEqual([source.given, writes > slowWrites], [size, true])
    clock.mock.restore()
  }
})

for (const code of ['FULL', 'READ_ONLY', 'BROKEN'] as const) {
  test(`a disk that is ${code}: ten clients at once share one download, and nothing is left of it`, async (t) => {
    const { store } = failingStore(code, ['open-partial'])
    const blobs = blobsOver(t, store)
    const source = good('x/x', content)
    const opened = await Promise.all(Array.from({ length: 10 }, () => blobs.open(digest, source, { size })))
    await Promise.all(opened.map(({ reader }) => assertGives(reader)))
    await until(() => blobs.fillCount === 0)
    assert.equal(source.given, size)
    assert.equal(await blobs.stat(digest), undefined)
  })
}

test('a disk without room: whoever alone wanted it leaves before the first byte, and nobody is handed it', async (t) => {
  for (const bytes of [content, content.subarray(0, 1000)]) {
    const { store } = failingStore('FULL', ['open-partial'])
    const blobs = blobsOver(t, store)
    const leaving = new AbortController()
    const source = good('x/x', bytes, async (position) => {
      if (position === 0) leaving.abort(new Error('it has left'))
    })
    const opening = blobs.open(digestOf(bytes), source, { size: bytes.length, signal: leaving.signal })
    await assert.rejects(opening, /it has left/)
    await until(() => blobs.fillCount === 0)
    assert.ok(source.given < 100_000, `${source.given} bytes came for nobody`)
    assertReleased()
  }
})

test('a disk without room for it is not begun to be filled, whoever tells the size', async (t) => {
  for (const claim of [size, undefined]) {
    const steps: string[] = []
    const store = new MemoryBlobStore({ room: size - 1, step: async (name) => void steps.push(name) })
    const blobs = blobsOver(t, store)
    await assertGives((await blobs.open(digest, good('x/x', content), { size: claim })).reader)
    assert.ok(!steps.includes('open-partial'))
  }
})

test('who comes when the first bytes were let go gets a download of its own, and both get all', async (t) => {
  const { store } = failingStore('FULL', ['open-partial'])
  const blobs = blobsOver(t, store)
  const source = good('x/x', content)
  const first = await blobs.open(digest, source, { size })
  const buffer = Buffer.alloc(1 << 20)
  for (let at = 0; at < 6_000_000; ) at += await first.reader.read(buffer, at)
  const second = await blobs.open(digest, source, { size })
  await Promise.all([
    assertGives(second.reader),
    (async () => {
      const bytes = await readAll(first.reader, 6_000_000)
      assertSameBytes(bytes.subarray(-1000), content.subarray(-1000))
      await first.reader.verified()
      await first.reader[Symbol.asyncDispose]()
    })(),
  ])
  assert.equal(source.given, 2 * size)
})

test('who comes while nothing of what is handed through was let go shares the download', async (t) => {
  const { store } = failingStore('FULL', ['open-partial'])
  const blobs = blobsOver(t, store)
  const source = good('x/x', content)
  const first = await blobs.open(digest, source, { size })
  await first.reader.read(Buffer.alloc(1), 0)
  const second = await blobs.open(digest, source, { size })
  assert.equal(second.status, 'joined')
  await Promise.all([first, second].map(({ reader }) => assertGives(reader)))
  assert.equal(source.given, size)
})

test('what was handed through because of a wrong claim never takes the partial of the one that came after', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore({ room: size + 1000 }))
  const [goOn, begin, end] = [0, 1, 2].map(() => Promise.withResolvers<void>())
  assert.ok(goOn && begin && end)
  const long = Buffer.concat([content, testBytes(100_000, 62)])
  const liar = scripted('long/x', (position, _query, nth) => ({
    bytes: long,
    pause: async (at) => {
      if (at >= 1_000_000) await (nth === 1 || position > 0 ? goOn : end).promise
    },
  }))
  const first = await blobs.open(digest, liar, { size: long.length })
  // What is let go keeps others from sharing it.
  for (let at = 0; at < 500_000; ) at += await first.reader.read(Buffer.alloc(100_000), at)
  const late = good('good/x', content, () => begin.promise)
  const opening = blobs.open(digest, late)
  await until(() => late.asked.length === 1)
  goOn.resolve()
  const rest = readAll(first.reader, 500_000, 1 << 20).then(() => first.reader.verified())
  await assert.rejects(rest, UpstreamError)
  await until(() => blobs.fillCount === 1 || liar.given >= long.length + 1_000_000)
  begin.resolve()
  await assertGives((await opening).reader)
  end.resolve()
  await first.reader[Symbol.asyncDispose]()
})

test('a client that reads from the middle of what is handed through gets its part', async (t) => {
  const { store } = failingStore('FULL', ['open-partial'])
  const blobs = blobsOver(t, store)
  await assertGives((await blobs.open(digest, good('x/x', content), { size })).reader, 11_000_000)
})

test('all clients of what is handed through leave: its download ends', async (t) => {
  const { store } = failingStore('FULL', ['open-partial'])
  const blobs = blobsOver(t, store)
  const source = good('x/x', content)
  const opened = await Promise.all([0, 1].map(() => blobs.open(digest, source, { size })))
  await Promise.all(opened.map(({ reader }) => reader.read(Buffer.alloc(1000), 0)))
  for (const { reader } of opened) await reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  assert.ok(source.given < size)
})

test('a client that takes nothing of a window does not hold up others for ever', async () => {
  const partial = new WindowPartial({ id: 'w', algorithm: 'sha256', capacity: 1_000_000 })
  const growing = new Growing({ laggardMs: 30 })
  growing.attach(partial, { window: partial })
  const [still, quick] = [growing.reader(size, 'x'), growing.reader(size, 'x')]
  assert.ok(still && quick)
  const reading = readAll(quick)
  for (let at = 0; at < size; at += 100_000) await growing.write(at, lent(content.subarray(at, at + 100_000)))
  assertSameBytes(await reading, content)
  await assert.rejects(still.read(Buffer.alloc(10), 0), /held up others who waited/)
  for (const reader of [still, quick]) await reader[Symbol.asyncDispose]()
  await partial.discard(new Error('the end'))
  assertReleased()
})

test('a small blob that the disk cannot take is served, verified', async (t) => {
  const small = content.subarray(0, 2000)
  const { store } = failingStore('FULL', ['open-partial'])
  const blobs = blobsOver(t, store)
  for (const claim of [2000, undefined]) {
    const { reader } = await blobs.open(digestOf(small), good('x/x', small), { size: claim })
    assert.equal(reader.isVerified, true)
    assertSameBytes(await readAll(reader), small)
    await reader[Symbol.asyncDispose]()
  }
})
