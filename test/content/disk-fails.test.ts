// A disk that fails under a fill. Neighbours that were thought of: each step, its first time, in the middle, its last time;
// full, read-only, broken, short of descriptors; once, and from then on; readers at the front, in the middle, ahead of it,
// before the first byte and after the failure; what an earlier attempt left, with holes; nobody who reads; nobody who
// knows the size; wrong bytes; room that is made; the disk well again.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { partialId } from '../../src/content/fill-options.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import { StorageError, type StorageErrorCode } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { readAll, testBytes } from '../storage/files/storage-folder.ts'
import { lent } from '../support/lent.ts'
import { until } from '../support/settle.ts'
import { content, digest, pullsThrough, size, takes } from './pulls-through.ts'
import { blobsOver, good, scripted } from './scripted-source.ts'

/** A store whose step of this name fails the `nth` time and after that, as long as `isFailing`. */
function failingStore(name: string, nth: number, code: StorageErrorCode, room?: number) {
  const state = { isFailing: true, count: 0, failed: 0 }
  const store = new MemoryBlobStore({
    ...(room === undefined ? {} : { room }),
    step: async (step) => {
      if (step !== name) return
      state.count += 1
      if (!state.isFailing || state.count < nth) return
      state.failed += 1
      throw new StorageError(code, `${name} failed`)
    },
  })
  return { state, store }
}

/** One that follows the front, and one far ahead, which has no more than one chunk in hand when the disk fails. */
const atMostTwo = { connections: 2 } as const
/** Of several more than one may meet the same failure. */
const one = { connections: 1 } as const

for (const [name, nths] of [
  ['open-partial', [1]],
  ['write', [1, 7, 150, 300]],
  ['sync', [1]],
  ['rename', [1]],
  ['sync-folder', [1]],
] as const) {
  for (const code of ['FULL', 'READ_ONLY', 'BROKEN'] as const) {
    test(`${code} at "${name}": whoever reads, reads on, and the blob crosses the line once`, async (t) => {
      for (const nth of nths) {
        const { state, store } = failingStore(name, nth, code)
        const blobs = blobsOver(t, store, atMostTwo)
        // What was there when it failed is read from the disk; from the start or at the end there is nothing to join.
        const isLate = name === 'write' && nth > 1 && nth < 300
        const { given } = await pullsThrough(blobs, () => state.failed > 0, { isLate })
        assert.ok(state.failed > 0, `${name} ${nth} was not reached`)
        // What a connection far ahead has in hand at that moment is lost.
        assert.ok(given - size <= 20_000, `${name} ${nth}: ${given}`)
        assert.deepEqual([await blobs.stat(digest), blobs.disk.isWell], [undefined, false])
        assert.deepEqual(await store.partials.list(), [], `${name} ${nth} leaves nothing`)
      }
    })
  }
}

test('descriptors are short at a write: it is tried again, and kept', async (t) => {
  const { state, store } = failingStore('write', 150, 'BUSY')
  const blobs = blobsOver(t, store)
  const pulling = pullsThrough(blobs, () => state.failed > 0, { isLate: true })
  await until(() => state.failed > 1)
  state.isFailing = false
  assert.equal((await pulling).given, size)
  assert.deepEqual([(await blobs.stat(digest))?.size, blobs.disk.isWell], [size, true])
})

test('what an earlier attempt left, with holes, is read from the disk when it fails, and not fetched again', async (t) => {
  const { state, store } = failingStore('write', 60, 'FULL')
  const partial = await store.partials.open({ id: partialId(digest), algorithm: 'sha256' })
  for (const [start, end] of [
    [0, 500_000],
    [1_500_000, 2_500_000],
    [4_000_000, 5_000_000],
  ] as const) {
    // biome-ignore format: one case a line
    await partial.write(start, lent(content.subarray(start, end)))
  }
  await partial.suspend(new Error('stopped'))
  const blobs = blobsOver(t, store, atMostTwo)
  const source = good('x/x', content)
  const openings = [0, 1, 2].map(() => blobs.open(digest, source, { size }))
  const [first, other, ahead] = await Promise.all(openings)
  assert.ok(first && other && ahead)
  await Promise.all([takes(first.reader), takes(other.reader), takes(ahead.reader, 4_500_000)])
  assert.ok(state.failed > 0)
  // What a connection far ahead has in hand at that moment is lost.
  assert.ok(source.given - (size - 2_500_000) <= 20_000, String(source.given))
})

test('the disk fails while nobody reads: the fill ends, and leaves nothing', async (t) => {
  const { state, store } = failingStore('write', 150, 'FULL')
  const blobs = blobsOver(t, store, one)
  const gate = Promise.withResolvers<void>()
  const source = good('x/x', content, (at) => (at >= 2_000_000 ? gate.promise : Promise.resolve()))
  const { reader } = await blobs.open(digest, source, { size })
  await reader[Symbol.asyncDispose]()
  gate.resolve()
  await until(() => blobs.fillCount === 0)
  assert.equal(state.failed, 1)
  assert.ok(source.given < size)
  assert.deepEqual(await store.partials.list(), [])
})

test('the disk fails at a blob of which nobody tells the size, with more to come than memory holds: whoever waits is told, and nobody waits for ever', async (t) => {
  const { store } = failingStore('write', 10, 'FULL')
  const blobs = blobsOver(t, store)
  const source = scripted('x/x', () => ({ bytes: content }))
  await assert.rejects(blobs.open(digest, source), UpstreamError)
  await until(() => blobs.fillCount === 0)
  assert.deepEqual(await store.partials.list(), [])
})

test('wrong bytes where the disk has failed: no reader is told that they are right', async (t) => {
  for (const wrongAt of [1_000_000, 5_000_000]) {
    const { store } = failingStore('write', 150, 'BROKEN')
    const blobs = blobsOver(t, store)
    const wrong = Buffer.from(content)
    wrong[wrongAt] = 1 + (wrong[wrongAt] ?? 0)
    const { reader } = await blobs.open(digest, good('x/x', wrong), { size })
    await assert.rejects(takes(reader), UpstreamError)
    await reader[Symbol.asyncDispose]()
    await until(() => blobs.fillCount === 0)
  }
})

test('the mirror stops, or all clients leave, in the moment in which the disk fails: it ends', async (t) => {
  for (const how of ['stop', 'leave'] as const) {
    let ending: Promise<unknown> | undefined
    const store = new MemoryBlobStore({
      step: async (name) => {
        if (name !== 'write' || blobs.fillCount === 0) return
        writes += 1
        if (writes < 150) return
        ending ??=
          how === 'stop' ? blobs[Symbol.asyncDispose]() : Promise.resolve(reader?.[Symbol.asyncDispose]())
        throw new StorageError('FULL', 'the disk is full')
      },
    })
    let writes = 0
    const blobs = blobsOver(t, store)
    let reader: BlobReader | undefined
    const gate = Promise.withResolvers<void>()
    const opened = await blobs.open(
      digest,
      good('x/x', content, (at) => (at > 0 ? gate.promise : Promise.resolve())),
      { size },
    )
    reader = opened.reader
    gate.resolve()
    await until(() => ending !== undefined)
    await ending
    await until(() => blobs.fillCount === 0)
    await reader[Symbol.asyncDispose]()
    // Whoever stops it goes on later with what came before.
    assert.equal((await store.partials.list()).length, how === 'stop' ? 1 : 0, how)
  }
})

test('later misses are handed through until a probe says that the disk is well, then kept', async (t) => {
  const steps: string[] = []
  let isFull = true
  const store = new MemoryBlobStore({
    step: async (name) => {
      steps.push(name)
      if (isFull && name === 'write') throw new StorageError('FULL', 'the disk is full')
    },
  })
  const blobs = blobsOver(t, store, { probeMs: 5 })
  const source = good('x/x', content)
  const pull = async () => {
    await takes((await blobs.open(digest, source, { size })).reader)
    await until(() => blobs.fillCount === 0)
  }
  for (let times = 0; times < 3; times += 1) await pull()
  assert.equal(steps.filter((name) => name === 'open-partial').length, 1)
  assert.equal(await blobs.stat(digest), undefined)
  isFull = false
  await until(() => blobs.disk.isWell)
  await pull()
  assert.equal((await blobs.stat(digest))?.size, size)
  assert.equal(source.given, 4 * size)
})

test('the mirror stops while what the disk had taken is let go: nobody waits for readers that do not come', async (t) => {
  const long = testBytes(3 * size, 72)
  let stopping: Promise<void> | undefined
  let writes = 0
  const store = new MemoryBlobStore({
    step: async (name) => {
      if (name === 'write') writes += 1
      if (name === 'write' && writes > 100) throw new StorageError('FULL', 'the disk is full')
      if (name === 'discard') stopping ??= Promise.resolve(blobs[Symbol.asyncDispose]())
    },
  })
  const blobs = blobsOver(t, store)
  const source = good('x/x', long)
  // Its signal is not heard: what is written waits for room.
  const open = source.open.bind(source)
  source.open = (position, query) => open(position, { ...query, signal: new AbortController().signal })
  const { reader } = await blobs.open(digestOf(long), source, { size: long.length })
  await until(() => stopping !== undefined)
  await stopping
  await reader[Symbol.asyncDispose]()
  assert.equal(blobs.fillCount, 0)
})

test('the disk says that it is full, and something can be evicted: it is written once more, and kept', async (t) => {
  const { state, store } = failingStore('write', 400, 'FULL')
  const limits = { maxBytes: 10 * size, minFreeBytes: 0, keepAtLeastMs: 0 }
  const blobs = blobsOver(t, store, { limits, ...one })
  const old = testBytes(size, 73)
  const { reader } = await blobs.open(digestOf(old), good('x/x', old), { size })
  await readAll(reader)
  await reader[Symbol.asyncDispose]()
  await until(async () => (await store.stat(digestOf(old))) !== undefined && blobs.fillCount === 0)
  const removed = store.delete.bind(store)
  t.mock.method(store, 'delete', (...digests: Parameters<typeof removed>) => {
    state.isFailing = false
    return removed(...digests)
  })
  await takes((await blobs.open(digest, good('x/x', content), { size })).reader)
  await until(() => blobs.fillCount === 0)
  assert.equal(state.failed, 1)
  assert.deepEqual([(await blobs.stat(digest))?.size, blobs.disk.isWell], [size, true])
})

test('what cannot be removed beside what a push has stored: whoever pulls notices nothing', async (t) => {
  const { state, store } = failingStore('discard', 1, 'BROKEN')
  const blobs = blobsOver(t, store)
  const pushed = Promise.withResolvers<void>()
  const source = scripted('x/x', () => ({
    bytes: content,
    size,
    pause: async (position) => (position > size / 2 ? pushed.promise : undefined),
  }))
  const { reader } = await blobs.open(digest, source, { size })
  await using opened = reader
  const writer = await blobs.openWriter('upload-1', 'sha256')
  await writer.append([content])
  // It is stored before the fill has looked at what it has.
  const sealing = blobs.seal(writer, digest, async () => pushed.resolve())
  assert.equal(digestOf(await readAll(opened)), digest)
  await opened.verified()
  await sealing
  await until(() => blobs.fillCount === 0)
  assert.equal(state.failed, 1)
})
