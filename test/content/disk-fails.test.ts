// A disk that fails under a fill. Neighbours that were thought of: each step, its first time, in the middle, its last time;
// full, read-only, broken, short of descriptors; once, and from then on; readers at the front, in the middle, ahead of it,
// before the first byte and after the failure; what an earlier attempt left, with holes; nobody who reads; nobody who
// knows the size; wrong bytes; room that is made; the disk well again.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Blobs } from '../../src/content/blobs.ts'
import { partialId } from '../../src/content/fill-options.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import { StorageError, type StorageErrorCode } from '../../src/storage/error.ts'
import { FileBlobStore } from '../../src/storage/files/file-blob-store.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { assertSameBytes, readAll, storageFolder, testBytes } from '../storage/files/storage-folder.ts'
import { FaultyDisk } from '../support/faulty-disk.ts'
import { until } from '../support/settle.ts'
import { blobsOver, good, scripted } from './scripted-source.ts'

const size = 6_000_000
const content = testBytes(size, 71)
const digest = digestOf(content)
const half = 3_000_000

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

/** Reads from `from` to the end as a client does, and waits until all of it is known to be right. */
async function takes(reader: BlobReader, from = 0, before: Buffer = Buffer.alloc(0)): Promise<void> {
  const bytes = Buffer.concat([before, await readAll(reader, from + before.length)])
  await reader.verified()
  assert.equal(reader.isVerified, true)
  await reader[Symbol.asyncDispose]()
  assertSameBytes(bytes, content.subarray(from))
}

/**
 * One who follows the front, one in the middle of the first half, one far ahead and one who waits for the first byte, while
 * `failed` becomes true; after that one who comes late, if that is to be. All of them have to get all bytes.
 */
async function pullsThrough(blobs: Blobs, failed: () => boolean, { isLate }: { isLate: boolean }) {
  const [begun, joined] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const source = good('x/x', content, async (at) => {
    if (at >= half) await begun.promise
    if (at >= size - half / 2) await joined.promise
  })
  const open = async () => (await blobs.open(digest, source, { size })).reader
  const [front, slow, ahead] = await Promise.all([open(), open(), open()])
  const [following, reading] = [takes(front), takes(ahead, 5_000_000)]
  const before = Buffer.alloc(100_000)
  for (let at = 0; at < before.length; ) at += await slow.read(before.subarray(at), at)
  begun.resolve()
  if (isLate) await until(failed)
  const late = isLate ? takes(await open()) : undefined
  joined.resolve()
  await Promise.all([following, reading, takes(slow, 0, before), late])
  await until(() => blobs.fillCount === 0)
  return source
}

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
        const blobs = blobsOver(t, store)
        // What was there when it failed is read from the disk; from the start or at the end there is nothing to join.
        const isLate = name === 'write' && nth > 1 && nth < 300
        const { given } = await pullsThrough(blobs, () => state.failed > 0, { isLate })
        assert.ok(state.failed > 0, `${name} ${nth} was not reached`)
        assert.equal(given, size, `${name} ${nth}`)
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
    await partial.write(start, content.subarray(start, end))
  }
  await partial.suspend(new Error('stopped'))
  const blobs = blobsOver(t, store)
  const source = good('x/x', content)
  const openings = [0, 1, 2].map(() => blobs.open(digest, source, { size }))
  const [one, other, ahead] = await Promise.all(openings)
  assert.ok(one && other && ahead)
  await Promise.all([takes(one.reader), takes(other.reader), takes(ahead.reader, 4_500_000)])
  assert.ok(state.failed > 0)
  assert.equal(source.given, size - 2_500_000)
})

test('the disk fails while nobody reads: the fill ends, and leaves nothing', async (t) => {
  const { state, store } = failingStore('write', 150, 'FULL')
  const blobs = blobsOver(t, store)
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

test('the disk fails at a blob of which nobody tells the size: whoever waits is told, and nobody waits for ever', async (t) => {
  const { store } = failingStore('write', 150, 'FULL')
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
  const { state, store } = failingStore('write', 1, 'FULL')
  const blobs = blobsOver(t, store, { probeMs: 5 })
  const source = good('x/x', content)
  const pull = async () => {
    await takes((await blobs.open(digest, source, { size })).reader)
    await until(() => blobs.fillCount === 0)
  }
  await pull()
  const { count } = state
  await pull()
  assert.equal(await blobs.stat(digest), undefined)
  state.isFailing = false
  await until(() => blobs.disk.isWell)
  assert.ok(state.count > count, 'a probe has written')
  await pull()
  assert.equal((await blobs.stat(digest))?.size, size)
  assert.equal(source.given, 3 * size)
})

/** A fill over files in a folder of which operations fail. */
async function faultyScene(t: TestContext) {
  const folder = await storageFolder(t)
  const disk = await FaultyDisk.below(t, folder)
  const open = async () => {
    const store = await FileBlobStore.open(folder)
    return { store, blobs: blobsOver(t, store) }
  }
  return { disk, open }
}

for (const operation of ['create', 'write', 'sync', 'rename'] as const) {
  test(`each "${operation}" of a file system fails, from then on or once: all bytes, once over the line, nothing left`, async (t) => {
    const { disk, open } = await faultyScene(t)
    const first = await open()
    let times = 0
    // The first time makes folders, too.
    for (let round = 0; round < 2; round += 1) {
      const before = disk.counts[operation]
      await pullsThrough(first.blobs, () => false, { isLate: false })
      times = disk.counts[operation] - before
      await first.store.delete(digest)
    }
    assert.ok(times > 0)
    // How often a journal is written is a matter of time.
    const last = operation === 'write' ? times * 0.9 : times
    const nths = new Set(Array.from({ length: 8 }, (_, n) => 1 + Math.round((n * (last - 1)) / 7)))
    for (const nth of nths) {
      for (const [error, lasts] of [
        ['ENOSPC', true],
        ['EIO', false],
        ['EROFS', true],
        ['EDQUOT', false],
      ] as const) {
        // biome-ignore format: one case a line
        const what = `${operation} ${nth} of ${times}, ${error}`
        const { store, blobs } = await open()
        disk.fail({ operation, error, nth, ...(lasts ? {} : { times: 1 }), losesUnsynced: false })
        const { given } = await pullsThrough(blobs, () => disk.failed > 0, { isLate: false })
        assert.ok(disk.failed > 0, what)
        assert.equal(given, size, what)
        disk.heal()
        await blobs[Symbol.asyncDispose]()
        assert.deepEqual(await store.partials.list(), [], what)
        await store.delete(digest)
      }
    }
  })
}

test('what an earlier attempt left cannot be read back: it is fetched again, and whoever follows gets all', async (t) => {
  const { disk, open } = await faultyScene(t)
  const { store, blobs } = await open()
  const partial = await store.partials.open({ id: partialId(digest), algorithm: 'sha256' })
  await partial.write(1_000_000, content.subarray(1_000_000, half))
  await partial.suspend(new Error('stopped'))
  const source = good('x/x', content, async (at) => {
    // What is behind the hole is hashed when that is closed.
    if (at === 900_000) disk.fail({ operation: 'read', error: 'EIO', times: 1 })
  })
  const { reader } = await blobs.open(digest, source, { size })
  await takes(reader)
  assert.equal(disk.failed, 1)
  assert.ok(source.given <= size, String(source.given))
  await blobs[Symbol.asyncDispose]()
  assert.deepEqual([await store.stat(digest), await store.partials.list()], [undefined, []])
})

test('a sync that fails takes bytes with it: nobody ends with others than those that were sent', async (t) => {
  const { disk, open } = await faultyScene(t)
  const { store, blobs } = await open()
  disk.fail({ operation: 'sync', error: 'EIO', losesUnsynced: true })
  const begun = Promise.withResolvers<void>()
  const source = good('x/x', content, (at) => (at >= half ? begun.promise : Promise.resolve()))
  const openings = await Promise.all([0, 1, 2].map(() => blobs.open(digest, source, { size })))
  const [front, before, after] = openings.map(({ reader }) => reader)
  assert.ok(front && before && after)
  const following = takes(front)
  const buffer = Buffer.alloc(size)
  for (const one of [before, after])
    for (let at = 0; at < 50_000; ) at += await one.read(buffer.subarray(at, 50_000), at)
  // Both are too far behind for what is in memory, when as much as this is here.
  await after.read(buffer.subarray(0, 1), half - 1)
  begun.resolve()
  // One reads on at once, and may have all bytes before the sync, but not end; one goes on when it has failed. On a busy
  // machine the first one falls behind what is in memory, and is told as well.
  const told = assert.rejects(takes(before, 50_000), StorageError)
  await following.catch((error: unknown) => assert.ok(error instanceof StorageError, String(error)))
  await until(() => blobs.fillCount === 0)
  assert.ok(disk.failed > 0)
  await told
  await assert.rejects(takes(after, 50_000), StorageError)
  for (const { reader } of openings) await reader[Symbol.asyncDispose]()
  disk.heal()
  assert.deepEqual([await store.stat(digest), await store.partials.list()], [undefined, []])
})
