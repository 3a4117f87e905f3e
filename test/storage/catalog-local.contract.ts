import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import {
  alpine,
  anyone,
  app,
  blobOf,
  fileOf,
  latest,
  layer,
  layerOf,
  type OpenCatalog,
  one,
  other,
  push,
  put,
  repositoryOf,
  two,
} from './catalog-fixtures.ts'

const minute = 60_000

/** What is pushed and mounted here: put, leased, deleted, let go. */
export function localContract(open: OpenCatalog): void {
  test('a pushed blob is here, held and kept, and idle until a manifest needs it; also later', async (t) => {
    const { catalog, reopen } = await open(t)
    await catalog.pushed(app, layer, fileOf(5), 50)
    const idle = { localAt: 50, idleSince: 50 }
    assert.deepEqual(pick(await catalog.held(app, layer)), idle)
    assert.deepEqual(await catalog.blob(layer), { ...fileOf(5), usedAt: 50, verifiedAt: 50, kept: true })
    assert.deepEqual(await catalog.putManifest(app, one, put), [])
    for (const again of [async () => catalog, reopen]) {
      const opened = await again()
      assert.deepEqual(pick(await opened.held(app, layer)), { localAt: 50, idleSince: undefined })
      assert.deepEqual(pick(await opened.held(app, one.digest)), { localAt: 100, idleSince: undefined })
      assert.deepEqual(await opened.tag(app, latest), { digest: one.digest, checkedAt: 100 })
      assert.ok(await opened.manifest(app, one.digest))
      assert.deepEqual(await opened.idle(1e12, { limit: 10 }), [])
    }
  })

  test('pushed once more while a manifest needs it: not idle', async (t) => {
    const { catalog } = await open(t)
    await push(catalog)
    await catalog.pushed(app, layer, fileOf(5), 200)
    assert.deepEqual(pick(await catalog.held(app, layer)), { localAt: 50, idleSince: undefined })
  })

  test('a manifest whose parts are not all here is refused with what lacks, and nothing is done', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, layer, fileOf(5), 50)
    // Nothing of this is app's: it is free, only named, in another repository, of no bytes, or no manifest.
    await catalog.confirmed(alpine, blobOf('free'), anyone(1))
    await catalog.sealed(blobOf('free'), fileOf(4), 1)
    await catalog.pushed(other, blobOf('others'), fileOf(6), 1)
    await catalog.pushed(app, blobOf('lost'), fileOf(6), 1)
    await catalog.gone(blobOf('lost'))
    const references = [
      layerOf('free'),
      layerOf('layer'),
      layerOf('others'),
      layerOf('free'),
      layerOf('lost'),
      { target: layer, kind: 'manifest' },
      { target: blobOf('subject'), kind: 'subject' },
    ] as const
    const lacking = [blobOf('free'), blobOf('others'), blobOf('lost'), layer]
    assert.deepEqual(await catalog.putManifest(app, one, { ...put, references }), lacking)
    assert.equal(await catalog.manifest(app, one.digest), undefined)
    assert.equal(await catalog.tag(app, latest), undefined)
    assert.equal((await catalog.held(app, layer))?.idleSince, 50)
  })

  test('an index of what was put before is taken, and one by a subject that is not here', async (t) => {
    const { catalog } = await open(t)
    await push(catalog)
    const references = [
      { target: one.digest, kind: 'manifest' },
      { target: blobOf('absent'), kind: 'subject', artifactType: 'a/b' },
    ] as const
    assert.deepEqual(await catalog.putManifest(app, two, { ...put, references }), [])
    const naming = await catalog.naming(app, blobOf('absent'), 'subject', { limit: 10 })
    assert.deepEqual(naming, [{ manifest: two.digest, artifactType: 'a/b' }])
  })

  test('a manifest without a tag, and with several', async (t) => {
    const { catalog } = await open(t)
    assert.deepEqual(await catalog.putManifest(app, one, { references: [], tags: [], at: 1 }), [])
    assert.deepEqual(await catalog.tags(app), [])
    const tags = ['a', 'b'] as Tag[]
    assert.deepEqual(await catalog.putManifest(app, one, { references: [], tags, at: 1 }), [])
    assert.deepEqual(await catalog.tags(app), ['a', 'b'])
  })

  test('a mount takes what its giver may give to anyone, where the bytes are here', async (t) => {
    const { catalog } = await open(t)
    const times = { at: 300, refusedAfter: 0 }
    await push(catalog)
    assert.equal(await catalog.mount(other, layer, app, times), true)
    assert.deepEqual(pick(await catalog.held(other, layer)), { localAt: 300, idleSince: 300 })
    assert.equal((await catalog.blob(layer))?.usedAt, 300)
    // Mirrored, to anyone.
    const free = blobOf('free')
    await catalog.confirmed(alpine, free, anyone(1))
    assert.equal(await catalog.mount(other, free, alpine, times), false, 'no bytes')
    await catalog.sealed(free, fileOf(4), 1)
    assert.equal(await catalog.mount(other, free, alpine, times), true)
    assert.equal((await catalog.blob(free))?.kept, true)
  })

  test('a mount of what is not the giver’s, only an account’s, or long refused makes nothing', async (t) => {
    const { catalog } = await open(t)
    const times = { at: 300, refusedAfter: 100 }
    for (const text of ['others', 'private', 'refused', 'named']) {
      await catalog.sealed(blobOf(text), fileOf(4), 1)
    }
    await catalog.pulled(alpine, one, { ...anyone(1), references: [layerOf('named')] })
    await catalog.confirmed(alpine, blobOf('private'), { as: 'account', at: 1 })
    const refused = repositoryOf('quay.io', 'refused')
    await catalog.confirmed(refused, blobOf('refused'), anyone(1))
    await catalog.refused(refused, 100)
    for (const [text, from] of [
      ['others', alpine],
      ['private', alpine],
      ['named', alpine],
      ['refused', refused],
      ['refused', 'free'],
      ['others', 'free'],
      ['others', repositoryOf('local', 'unknown')],
    ] as const) {
      assert.equal(await catalog.mount(app, blobOf(text), from, times), false, text)
    }
    assert.equal(await catalog.repository(app), undefined)
    assert.equal((await catalog.blob(blobOf('others')))?.kept, false)
    assert.equal(await catalog.mount(app, blobOf('refused'), refused, { at: 300, refusedAfter: 99 }), true)
  })

  test('what the giver only names is mounted if it is free; without a giver, what is free is', async (t) => {
    const { catalog } = await open(t)
    const times = { at: 300, refusedAfter: 0 }
    await catalog.pulled(alpine, one, { ...anyone(1), references: [layerOf('layer')] })
    await catalog.sealed(layer, fileOf(5), 1)
    assert.equal(await catalog.mount(app, layer, 'free', times), false)
    await catalog.confirmed(repositoryOf('quay.io', 'free'), layer, anyone(1))
    assert.equal(await catalog.mount(app, layer, alpine, times), true)
    assert.equal(await catalog.mount(other, layer, 'free', times), true)
  })

  test('"already here" is a lease: what was idle for a quarter of the grace is idle anew', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, layer, fileOf(5), 0)
    assert.equal(await catalog.lease(app, layer, 15 * minute, 60 * minute), true)
    assert.equal((await catalog.held(app, layer))?.idleSince, 0, 'not worth a write')
    assert.equal(await catalog.lease(app, layer, 15 * minute + 1, 60 * minute), true)
    assert.equal((await catalog.held(app, layer))?.idleSince, 15 * minute + 1)
    assert.equal(await catalog.letGo(app, layer, 15 * minute + 1, 0), 'kept')
  })

  test('no lease for what is another’s, only confirmed, or without its bytes; none makes idle what is needed', async (t) => {
    const { catalog } = await open(t)
    await push(catalog)
    await catalog.confirmed(alpine, layer, anyone(1))
    for (const repository of [other, alpine]) {
      assert.equal(await catalog.lease(repository, layer, 1e6, 1000), false)
    }
    assert.equal(await catalog.lease(app, layer, 1e6, 1000), true)
    assert.equal((await catalog.held(app, layer))?.idleSince, undefined)
    await catalog.gone(layer)
    assert.equal(await catalog.lease(app, layer, 1e6, 1000), false)
  })

  test('an upload is known from its begin to its end, and makes no repository', async (t) => {
    const { catalog, reopen } = await open(t)
    await catalog.beginUpload('one', app, 10, 'ann')
    await catalog.beginUpload('two', other, 5)
    const later = await reopen()
    assert.deepEqual(await later.upload('one'), {
      id: 'one',
      repository: app,
      owner: 'ann',
      begunAt: 10,
      touchedAt: 10,
    })
    assert.equal((await later.upload('two'))?.owner, undefined)
    assert.deepEqual(
      (await later.staleUploads(11, 10)).map(({ id }) => id),
      ['two', 'one'],
    )
    assert.deepEqual(
      (await later.staleUploads(10, 10)).map(({ id }) => id),
      ['two'],
    )
    assert.equal(await later.endUpload('one'), true)
    assert.equal(await later.endUpload('one'), false)
    assert.equal(await later.upload('one'), undefined)
    assert.equal(await later.repository(app), undefined)
  })
}

function pick(held: { localAt?: number | undefined; idleSince?: number | undefined } | undefined) {
  return held && { localAt: held.localAt, idleSince: held.idleSince }
}
