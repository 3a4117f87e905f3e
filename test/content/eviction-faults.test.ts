/**
 * Room where something goes wrong, or comes from elsewhere. Thought of: nothing that could go; what fills have left, and one
 * that begins while it goes; what is damaged; another program that fills the disk; files that run short; a catalog that
 * cannot be written, a file that cannot be removed, an eviction that hangs; a disk that says that it is full all the same;
 * a fill of unknown size; clients that leave while they wait.
 */

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { partialId } from '../../src/content/fill-options.ts'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { repositoryKey } from '../../src/storage/repository-key.ts'
import { assertSameBytes, readAll } from '../storage/files/storage-folder.ts'
import { lent } from '../support/lent.ts'
import { until } from '../support/settle.ts'
import { good, scripted } from './scripted-source.ts'
import { blobOf, pull, pullSome, smallCache, stored, unit } from './small-cache.ts'

const app = repositoryKey('local', 'app' as never)

/** What a fill leaves behind whose upstream fails half-way. */
async function leavePartial(store: MemoryBlobStore, seed: number, bytes: number): Promise<string> {
  const id = partialId(blobOf(seed).digest)
  const partial = await store.partials.open({ id, algorithm: 'sha256' })
  await partial.write(0, lent(Buffer.alloc(bytes)))
  await partial.suspend(new Error('its upstream failed'))
  return id
}

/** A disk of so many bytes for everything, which others can take from. */
function sharedDisk(size: number) {
  const state = { others: 0, files: { free: 0, total: 0 } }
  const store = new MemoryBlobStore()
  store.room = async () => {
    const partials = await store.partials.list()
    const mine = partials.reduce((sum, { bytes }) => sum + bytes, store.stored.bytes)
    return { bytes: size - mine - state.others, files: state.files }
  }
  return { state, store }
}

test('where nothing can go, blobs are handed through at once, and it is told once', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, blobs, told } = smallCache(t, { patienceMs: 30_000 })
  const all = await pullSome(t, blobs, 9)
  await using _ = new AsyncDisposableStack()
  for (const { digest } of all) {
    const reader = await blobs.openStored(digest)
    assert.ok(reader)
    _.use(reader)
  }
  for (const seed of [50, 51, 52]) await pull(blobs, blobOf(seed, 4 * unit))
  assert.equal(blobs.handedThrough, 3)
  assert.equal((await stored(store, all)).length, 9)
  assert.equal(told('there is no room for what is fetched').length, 1)
})

test('what fills have left counts, and goes by its age among the blobs', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const store = new MemoryBlobStore()
  await leavePartial(store, 900, unit)
  t.mock.timers.tick(1000)
  const { blobs } = smallCache(t, { store })
  const all = await pullSome(t, blobs, 4)
  const late = await leavePartial(store, 901, unit)
  await blobs.space.resting.look(late)
  assert.equal(await blobs.space.countedBytes(), 6 * unit)
  await pullSome(t, blobs, 4, 100)
  await blobs.evictor?.run()
  const ids = async () => (await store.partials.list()).map(({ id }) => id)
  assert.deepEqual(await ids(), [late])
  assert.deepEqual(await stored(store, all), [0, 1, 2, 3])
  await pullSome(t, blobs, 6, 200)
  await blobs.evictor?.run()
  assert.deepEqual(await ids(), [])
})

test('a fill that fails leaves its bytes counted, one that goes on with them counts once', async (t) => {
  const { store, blobs } = smallCache(t)
  const { bytes, digest } = blobOf(1, 4 * unit)
  let isCut = true
  const cut = scripted('x/x', () => ({ size: bytes.length, bytes, until: isCut ? 3 * unit : bytes.length }))
  const first = await blobs.open(digest, cut, { size: bytes.length })
  await assert.rejects(readAll(first.reader))
  await first.reader[Symbol.asyncDispose]()
  await until(async () => (await blobs.space.countedBytes()) === 3 * unit)
  isCut = false
  const gate = Promise.withResolvers<void>()
  const slow = good('x/x', bytes, () => gate.promise)
  const opening = blobs.open(digest, slow, { size: bytes.length })
  await until(() => slow.asked.length === 1)
  assert.ok((await blobs.space.countedBytes()) <= 4 * unit)
  gate.resolve()
  const { reader } = await opening
  assertSameBytes(await readAll(reader), bytes)
  await reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  assert.equal(await blobs.space.countedBytes(), 4 * unit)
  assert.deepEqual(await store.partials.list(), [])
})

test('a fill that begins while what was left of it is being removed waits for that', async (t) => {
  const gate = Promise.withResolvers<void>()
  let isRemoving = false
  const store = new MemoryBlobStore({
    step: async (name) => {
      if (name !== 'unlink') return
      isRemoving = true
      await gate.promise
    },
  })
  const blob = blobOf(1)
  const id = await leavePartial(store, 1, 1000)
  const { blobs } = smallCache(t, { store })
  await blobs.space.countedBytes()
  const removing = blobs.space.resting.remove(id)
  await until(() => isRemoving)
  const pulling = pull(blobs, blob)
  await until(() => blobs.fillCount === 1)
  gate.resolve()
  await removing
  assert.equal(await pulling, 'miss')
  assert.equal((await blobs.stat(blob.digest))?.size, unit)
})

test('what is damaged goes first, but for what was pushed', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, records, blobs } = smallCache(t)
  const all = await pullSome(t, blobs, 8)
  const [pushed, mirrored] = [all[3], all[5]]
  assert.ok(pushed && mirrored)
  const file = await store.stat(pushed.digest)
  assert.ok(file)
  await records.pushed(app, pushed.digest, file, Date.now())
  for (const { digest } of [pushed, mirrored]) {
    await store.quarantine.put(digest)
    await records.gone(digest)
  }
  assert.equal(await blobs.space.countedBytes(), 7 * unit)
  await pullSome(t, blobs, 3, 100)
  await blobs.evictor?.run()
  assert.deepEqual(
    store.quarantine.list().map(({ digest }) => digest),
    [pushed.digest],
  )
  assert.deepEqual(await stored(store, all), [0, 1, 2, 4, 6, 7])
})

test('another program fills the disk: blobs go until minFree is free again, and pulls go on', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { state, store } = sharedDisk(20 * unit)
  const limits = { minFreeBytes: 5 * unit, maxBytes: 100 * unit }
  const { blobs, told } = smallCache(t, { store, limits })
  const all = await pullSome(t, blobs, 12)
  assert.equal((await stored(store, all)).length, 12)
  state.others = 9 * unit
  await until(async () => (await store.room()).bytes >= 5 * unit)
  await blobs.evictor?.run()
  assert.deepEqual(await stored(store, all), [7, 8, 9, 10, 11])
  await pull(blobs, blobOf(50))
  assert.equal(blobs.handedThrough, 0)
  state.others = 16 * unit
  await pull(blobs, blobOf(51))
  assert.equal(blobs.handedThrough, 1)
  await until(() => blobs.evictor?.passedLimit === 'minFree')
  assert.deepEqual(
    told('a bound of the cache is passed').map(({ why }) => why),
    ['minFree'],
  )
  state.others = 0
  await until(() => blobs.evictor?.passedLimit === undefined)
})

test('files that run short make blobs go', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { state, store } = sharedDisk(1000 * unit)
  const total = 20
  const files = async () => {
    const made = store.stored.blobs + 2 * (await store.partials.list()).length
    state.files = { free: total - made, total }
  }
  const { room } = store
  store.room = async () => {
    await files()
    return room()
  }
  const { blobs } = smallCache(t, { store, limits: { maxBytes: 1000 * unit } })
  await pullSome(t, blobs, 30)
  assert.equal(blobs.handedThrough, 0)
  assert.ok(store.stored.blobs > 10 && store.stored.blobs <= 18, `${store.stored.blobs}`)
})

/** A catalog of which a verb can be made to fail. */
function failingCatalog(t: TestContext) {
  const records = new MemoryCatalog()
  const evict = records.evict.bind(records)
  const state = { fails: false, tried: 0 }
  t.mock.method(records, 'evict', async (...asked: Parameters<typeof evict>) => {
    state.tried += 1
    if (state.fails) throw new StorageError('FULL', 'no room for a row')
    return evict(...asked)
  })
  return { records, state }
}

test('a catalog that cannot be written: blobs are handed through, and kept again when it can', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { records, state } = failingCatalog(t)
  const { store, blobs, told } = smallCache(t, { records, patienceMs: 100_000 })
  const all = await pullSome(t, blobs, 9)
  state.fails = true
  for (const seed of [50, 51]) await pull(blobs, blobOf(seed, 3 * unit))
  assert.equal(blobs.handedThrough, 2)
  assert.equal((await stored(store, all)).length, 9)
  assert.equal(told('nothing could be evicted').length, 1)
  state.fails = false
  await pull(blobs, blobOf(52, 3 * unit))
  assert.equal(blobs.handedThrough, 2)
})

test('a file that cannot be removed is passed over, and is left to the collector', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, records, blobs, told } = smallCache(t)
  const all = await pullSome(t, blobs, 9)
  const [stuck] = all
  assert.ok(stuck)
  const remove = store.delete.bind(store)
  t.mock.method(store, 'delete', async (digest: typeof stuck.digest) => {
    if (digest === stuck.digest) throw new StorageError('BROKEN', 'it cannot be unlinked')
    return remove(digest)
  })
  await pullSome(t, blobs, 4, 100)
  await blobs.evictor?.run()
  assert.equal(blobs.handedThrough, 0)
  assert.ok((await stored(store, all)).includes(0))
  assert.deepEqual(await records.removals({ limit: 10 }), [stuck.digest])
  assert.equal(told('something could not be evicted').length, 1)
})

test('an eviction that hangs holds up nobody for longer than the patience', async (t) => {
  const { store, blobs } = smallCache(t, { patienceMs: 50 })
  for (let seed = 0; seed < 9; seed += 1) await pull(blobs, blobOf(seed))
  const gate = Promise.withResolvers<number>()
  t.mock.method(store, 'delete', () => gate.promise)
  await pull(blobs, blobOf(50, 3 * unit))
  assert.equal(blobs.handedThrough, 1)
  gate.resolve(0)
})

test('a blob of unknown size takes room as it comes', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, blobs } = smallCache(t, { limits: { maxBytes: 40 * unit } })
  const all = await pullSome(t, blobs, 30)
  const { bytes, digest } = blobOf(50, 20 * unit)
  const source = scripted('x/x', () => ({ bytes }))
  const { reader } = await blobs.open(digest, source)
  assertSameBytes(await readAll(reader), bytes)
  await reader[Symbol.asyncDispose]()
  await until(() => blobs.fillCount === 0)
  assert.ok(store.stored.bytes <= 40 * unit)
  assert.ok((await stored(store, all)).length >= 15)
})

test('the disk says that it is full all the same: bytes go, whatever the figures say', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, blobs } = smallCache(t, { limits: { maxBytes: 100 * unit } })
  const all = await pullSome(t, blobs, 9)
  using room = blobs.space.reserve('fill', () => 0)
  assert.equal(await room.afterFull(2.5 * unit), true)
  assert.deepEqual(await stored(store, all), [3, 4, 5, 6, 7, 8])
  assert.equal(await room.afterFull(100 * unit), false)
})

test('who leaves while it waits is not served, and the next one is', async (t) => {
  const { store, blobs } = smallCache(t, { patienceMs: 30_000 })
  for (let seed = 0; seed < 9; seed += 1) await pull(blobs, blobOf(seed))
  const gate = Promise.withResolvers<void>()
  const remove = store.delete.bind(store)
  t.mock.method(store, 'delete', async (digest: never) => {
    await gate.promise
    return remove(digest)
  })
  using first = blobs.space.reserve('fill', () => 0)
  using second = blobs.space.reserve('fill', () => 0)
  const leaving = new AbortController()
  const refused = assert.rejects(first.reserve(3 * unit, leaving.signal), /left/)
  const served = second.reserve(3 * unit)
  leaving.abort(new Error('it has left'))
  await refused
  gate.resolve()
  assert.equal(await served, true)
  assert.equal(first.counted, 0)
  assert.equal(second.counted, 3 * unit)
})

test('room that ends in the middle of a blob: it goes on in memory, and the disk is not to blame', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, blobs } = smallCache(t, { limits: { maxBytes: 40 * unit } })
  const all = await pullSome(t, blobs, 18)
  await using readers = new AsyncDisposableStack()
  for (const { digest } of all) readers.use((await blobs.openStored(digest)) ?? assert.fail())
  await pull(blobs, blobOf(50, 30 * unit))
  assert.equal(blobs.handedThrough, 1)
  assert.ok(blobs.disk.isWell)
  assert.deepEqual(await store.partials.list(), [])
  assert.equal(await blobs.space.countedBytes(), 18 * unit)
  await pull(blobs, blobOf(51, 20 * unit))
  assert.equal(blobs.handedThrough, 1)
})
