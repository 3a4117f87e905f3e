/** What the evictor does with what a pin marks in the catalog, and what its order says of what stays. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { evictionOrder } from '../../src/content/eviction-order.ts'
import type { Tag } from '../../src/oci/reference.ts'
import { alpine, anyone, app, manifestOf } from '../storage/catalog-fixtures.ts'
import { blobOf, pull, pullSome, smallCache, stored, type TestBlob, unit } from './small-cache.ts'

const pattern = { origin: 'docker.io', repository: 'library/*', tag: '3*' }

/** The manifest of some layers, as their upstream gave it. */
function imageOf(layers: readonly TestBlob[]) {
  const references = layers.map(({ digest }) => ({ target: digest, kind: 'layer', size: unit }) as const)
  return { ...manifestOf(JSON.stringify(layers.map(({ digest }) => digest))), references }
}

for (const when of ['before', 'during', 'after'] as const) {
  test(`a pin that comes ${when} the pull: its layers stay, and go when it is no more`, async (t) => {
    t.mock.timers.enable({ apis: ['Date'] })
    const { store, records, blobs } = smallCache(t)
    const image = [1, 2, 3].map((seed) => blobOf(seed))
    const pin = () => records.pin(pattern, Date.now())
    if (when === 'before') await pin()
    const { references, ...manifest } = imageOf(image)
    await records.pulled(alpine, manifest, { ...anyone(Date.now()), tag: '3.20' as Tag, references })
    for (const [index, blob] of image.entries()) {
      if (when === 'during' && index === 1) await pin()
      await pull(blobs, blob)
      t.mock.timers.tick(1000)
    }
    if (when === 'after') await pin()
    // They are the longest unused, but do not count.
    assert.equal(await blobs.space.countedBytes(), 0)
    await pullSome(t, blobs, 30, 100)
    await blobs.evictor?.run()
    assert.deepEqual(await stored(store, image), [0, 1, 2])
    assert.ok(blobs.evicted.blobs > 0)

    assert.equal(await records.unpin(pattern), true)
    assert.ok((await blobs.space.countedBytes()) > 10 * unit)
    await blobs.evictor?.run()
    assert.deepEqual(await stored(store, image), [])
    assert.ok((await blobs.space.countedBytes()) <= 10 * unit)
  })
}

test('a tag that moves gives back what only its old manifest needed', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, records, blobs } = smallCache(t)
  await records.pin(pattern, Date.now())
  const layers = [1, 2, 3].map((seed) => blobOf(seed))
  for (const some of [layers.slice(0, 2), layers.slice(1)]) {
    const { references, ...manifest } = imageOf(some)
    await records.pulled(alpine, manifest, { ...anyone(Date.now()), tag: '3.20' as Tag, references })
    for (const blob of some) await pull(blobs, blob)
  }
  await pullSome(t, blobs, 30, 100)
  await blobs.evictor?.run()
  assert.deepEqual(await stored(store, layers), [1, 2])
})

test('the order says why something stays; what is pinned or pushed has no turn, and its holders are told', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000_000 })
  const { store, records, blobs } = smallCache(t, { limits: { maxBytes: 100 * unit } })
  const all = await pullSome(t, blobs, 5)
  const [pinned, pushed, read, arriving, idle] = all as [TestBlob, TestBlob, TestBlob, TestBlob, TestBlob]
  const { references, ...manifest } = imageOf([pinned])
  await records.pulled(alpine, manifest, { ...anyone(1), tag: '3.20' as Tag, references })
  await records.pin(pattern, 2)
  const file = await store.stat(pushed.digest)
  assert.ok(file)
  await records.pushed(app, pushed.digest, file, Date.now())
  t.mock.timers.tick(60_000)
  const [fresh] = (await pullSome(t, blobs, 1, 50)) as [TestBlob]

  const turns = evictionOrder({
    catalog: records,
    quarantine: store.quarantine,
    resting: blobs.space.resting,
    noteUse: async () => {},
    partialsUnderWay: () => blobs.space.partials,
    isRead: (digest) => digest === read.digest,
    isOnItsWay: (digest) => digest === arriving.digest,
    keepAtLeastMs: 30_000,
  })
  const stays = new Map<string, string | undefined>()
  for await (const turn of turns) stays.set(turn.name, turn.stays)
  assert.deepEqual(
    [...stays],
    [
      [read.digest, 'read'],
      [arriving.digest, 'on its way'],
      [idle.digest, undefined],
      [fresh.digest, 'fetched lately'],
    ],
  )
  const reasons = async ({ digest }: TestBlob) =>
    (await records.keeping(digest, 10)).map(({ repository, localAt, pinnedAt }) => ({
      repository,
      isPushed: localAt !== undefined,
      isPinned: pinnedAt !== undefined,
    }))
  assert.deepEqual(await reasons(pinned), [{ repository: alpine, isPushed: false, isPinned: true }])
  assert.deepEqual(await reasons(pushed), [{ repository: app, isPushed: true, isPinned: false }])
  assert.deepEqual(await reasons(idle), [])
})
