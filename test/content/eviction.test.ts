/**
 * What is stored stays below its limit, and what was used longest ago goes. Thought of: one blob and many at a time, of
 * known and of unknown size; larger than the limit; claims that nobody keeps; what is read, pushed, pinned, fetched lately;
 * a limit that was lowered; a clock that jumps. How it fails: `eviction-faults.test.ts`.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { repositoryKey } from '../../src/storage/repository-key.ts'
import { readAll } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { good } from './scripted-source.ts'
import { blobOf, pull, pullSome, smallCache, stored, unit } from './small-cache.ts'

test('what was used longest ago goes, down to the low-water mark', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, blobs, told } = smallCache(t)
  const all = await pullSome(t, blobs, 20)
  // What has begun behind the pulls may still be under way.
  await blobs.evictor?.run()
  // The oldest that is left is wanted again.
  t.mock.timers.tick(1000)
  const [oldest = 0] = await stored(store, all)
  const wanted = all[oldest]
  assert.ok(wanted)
  assert.equal(await pull(blobs, wanted), 'hit')
  const more = await pullSome(t, blobs, 5, 100)
  await blobs.evictor?.run()
  assert.deepEqual(await stored(store, all), [oldest, 17, 18, 19])
  assert.deepEqual(await stored(store, more), [0, 1, 2, 3, 4])
  assert.deepEqual(blobs.evicted, { blobs: 16, bytes: 16 * unit })
  assert.equal(told('evicted what was used longest ago').length, 1)
})

test('fills at a time stay below the limit together, with all that they have begun', async (t) => {
  const { store, blobs } = smallCache(t)
  let most = 0
  const watched = (bytes: Buffer) =>
    good('x/x', bytes, async () => {
      // At the same moment: what is sealed in between would count twice.
      const [listing, stored] = [store.partials.list(), store.stored.bytes]
      const present = (await listing).reduce((sum, partial) => sum + partial.bytes, 0)
      most = Math.max(most, stored + present)
    })
  const pulling = Array.from({ length: 40 }, async (_, index) => {
    const { bytes, digest } = blobOf(index % 24, (1 + (index % 3)) * unit)
    const { reader } = await blobs.open(digest, watched(bytes), {
      size: index % 2 ? bytes.length : undefined,
    })
    await using opened = reader
    assert.equal(digestOf(await readAll(opened)), digest)
  })
  await Promise.all(pulling)
  await until(() => blobs.fillCount === 0)
  assert.ok(most > 5 * unit, `${most}`)
  assert.ok(most <= 10 * unit, `${most}`)
})

test('a blob that is larger than the limit is handed through, and nothing goes for it', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, blobs, told } = smallCache(t)
  const all = await pullSome(t, blobs, 9)
  await pull(blobs, blobOf(50, 11 * unit))
  await pull(blobs, blobOf(51, 10 * unit + 1))
  assert.equal((await stored(store, all)).length, 9)
  assert.equal(blobs.handedThrough, 2)
  assert.deepEqual(
    told('there is no room for what is fetched').map(({ why, bytes }) => [why, bytes]),
    [['maxSize', 11 * unit]],
  )
  await pull(blobs, blobOf(52, 10 * unit))
  assert.equal(blobs.handedThrough, 2)
})

test('a size that is only claimed evicts nothing', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, blobs } = smallCache(t)
  const all = await pullSome(t, blobs, 8)
  const { bytes, digest } = blobOf(50)
  const answer = Promise.withResolvers<void>()
  const opening = blobs.open(
    digest,
    good('x/x', bytes, () => answer.promise),
    { size: 10 * unit },
  )
  await until(() => blobs.fillCount === 1)
  await blobs.evictor?.run()
  assert.equal((await stored(store, all)).length, 8)
  answer.resolve()
  await opening.then(({ reader }) => reader[Symbol.asyncDispose]()).catch(() => {})
  await until(() => blobs.fillCount === 0)
  await blobs.evictor?.run()
  assert.equal((await stored(store, all)).length, 8)
  assert.equal(await blobs.stat(digest).then((found) => found?.size), unit)
})

test('what somebody reads stays, and goes when nobody does', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, blobs } = smallCache(t)
  const all = await pullSome(t, blobs, 9)
  const first = all[0]
  assert.ok(first)
  const reader = await blobs.openStored(first.digest)
  assert.ok(reader)
  const more = await pullSome(t, blobs, 12, 100)
  assert.deepEqual(await stored(store, all), [0])
  assert.equal(digestOf(await readAll(reader)), first.digest)
  await reader[Symbol.asyncDispose]()
  await pullSome(t, blobs, 12, 200)
  assert.deepEqual(await stored(store, all), [])
  assert.deepEqual(await stored(store, more), [])
})

test('what was pushed or pinned does not count, and never goes', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, records, blobs } = smallCache(t)
  const kept = await pullSome(t, blobs, 5)
  for (const { digest } of kept) {
    const file = await store.stat(digest)
    assert.ok(file)
    await records.pushed(repositoryKey('local', 'app' as never), digest, file, Date.now())
  }
  assert.equal(await blobs.space.countedBytes(), 0)
  const more = await pullSome(t, blobs, 25, 100)
  assert.equal((await stored(store, kept)).length, 5)
  assert.ok((await stored(store, more)).length >= 9)
})

test('what was fetched lately goes only where there is no other way', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, blobs } = smallCache(t, { limits: { keepAtLeastMs: 60_000 } })
  const old = await pullSome(t, blobs, 4)
  t.mock.timers.tick(50_000)
  const late = await pullSome(t, blobs, 5, 100)
  t.mock.timers.tick(8000)
  for (const blob of old) await pull(blobs, blob)
  // Used last, and the only ones that are old enough.
  await pullSome(t, blobs, 3, 200)
  assert.equal((await stored(store, late)).length, 5)
  assert.ok((await stored(store, old)).length < 3)
  // Now all came lately, and there is no other way.
  await pullSome(t, blobs, 8, 300)
  assert.ok((await stored(store, late)).length < 5)
  assert.equal(blobs.handedThrough, 0)
})

test('nothing that came lately goes for the low-water mark', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, blobs } = smallCache(t, { limits: { keepAtLeastMs: 60_000 } })
  const all = await pullSome(t, blobs, 10)
  await blobs.evictor?.run()
  assert.equal((await stored(store, all)).length, 10)
})

test('a limit that was lowered is reached after the start, and pulls do not wait for all of that', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const before = smallCache(t)
  const all = await pullSome(t, before.blobs, 9)
  const { store, records } = before
  await before.blobs[Symbol.asyncDispose]()
  const { blobs } = smallCache(t, { store, records, limits: { maxBytes: 3 * unit } })
  await blobs.evictor?.run()
  assert.equal((await stored(store, all)).length, 2)
  assert.equal(blobs.handedThrough, 0)
})

test('blobs that came after the walk had begun go down to the low-water mark as well', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const before = smallCache(t)
  await pullSome(t, before.blobs, 4)
  const { store, records } = before
  await before.blobs[Symbol.asyncDispose]()
  const leastRecent = records.leastRecent.bind(records)
  const known = t.mock.method(records, 'leastRecent', leastRecent)
  // The first walk finds one, and at its end the others are not there yet.
  known.mock.mockImplementationOnce(async () => leastRecent({ limit: 1 }), 0)
  known.mock.mockImplementationOnce(async () => [], 1)
  const { blobs } = smallCache(t, { store, records, limits: { maxBytes: 3 * unit } })
  await blobs.evictor?.run()
  assert.equal(store.stored.bytes, 2 * unit)
})

for (const [jump, ms] of [
  ['ten years ahead', 10 * 365 * 24 * 3_600_000],
  ['ten years back', -10 * 365 * 24 * 3_600_000],
] as const) {
  test(`a clock that jumps ${jump} takes nothing away`, async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const { store, blobs } = smallCache(t, { limits: { keepAtLeastMs: 60_000 } })
    const all = await pullSome(t, blobs, 8)
    t.mock.timers.setTime(Date.now() + ms)
    await blobs.evictor?.run()
    assert.equal((await stored(store, all)).length, 8)
    await pullSome(t, blobs, 4, 100)
    assert.equal(blobs.handedThrough, 0)
    assert.ok(store.stored.bytes >= 9 * unit)
  })
}
