import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { Catalog } from '../../src/storage/catalog.ts'
import type { RepositoryKey } from '../../src/storage/repository-key.ts'
import {
  alpine,
  anyone,
  app,
  blobOf,
  fileOf,
  latest,
  layerOf,
  type OpenCatalog,
  one,
  repositoryOf,
  two,
} from './catalog-fixtures.ts'

const other = repositoryOf('local', 'other')
const layer = blobOf('layer')
const put = { references: [layerOf('layer')], tags: [latest], at: 100 }
const minute = 60_000

/** A push of `one` with its layer. */
async function push(catalog: Catalog, repository: RepositoryKey = app): Promise<void> {
  await catalog.pushed(repository, layer, fileOf(5), 50)
  assert.deepEqual(await catalog.putManifest(repository, one, put), [])
}

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
      assert.deepEqual(await opened.idle(1e12, 10), [])
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
    assert.equal(await catalog.letGo(app, layer, 15 * minute + 1), 'kept')
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

  test('a deleted tag is gone, its manifest stays', async (t) => {
    const { catalog } = await open(t)
    await push(catalog)
    assert.equal(await catalog.deleteTag(app, latest), true)
    assert.equal(await catalog.deleteTag(app, latest), false)
    assert.equal(await catalog.tag(app, latest), undefined)
    assert.ok(await catalog.manifest(app, one.digest))
  })

  test('a deleted manifest takes its tags along; what nothing else needs is idle from then on', async (t) => {
    const { catalog, reopen } = await open(t)
    await catalog.pushed(app, blobOf('shared'), fileOf(5), 50)
    await push(catalog)
    const references = [layerOf('layer'), layerOf('shared')]
    await catalog.putManifest(app, one, { ...put, references, tags: [latest, 'v1' as Tag] })
    await catalog.putManifest(app, two, { ...put, references: [layerOf('shared')], tags: ['v2' as Tag] })
    assert.equal(await catalog.deleteManifest(app, one.digest, 500), true)
    assert.equal(await catalog.deleteManifest(app, one.digest, 600), false)
    for (const again of [async () => catalog, reopen]) {
      const opened = await again()
      assert.deepEqual(await opened.tags(app), ['v2'])
      assert.equal(await opened.manifest(app, one.digest), undefined)
      assert.equal(await opened.held(app, one.digest), undefined)
      assert.equal((await opened.held(app, layer))?.idleSince, 500)
      assert.equal((await opened.held(app, blobOf('shared')))?.idleSince, undefined)
      assert.equal(await opened.named(app, layer), undefined)
    }
  })

  test('a manifest that another repository has stays there', async (t) => {
    const { catalog } = await open(t)
    await push(catalog)
    await catalog.pulled(alpine, one, { ...anyone(1), references: [] })
    await catalog.deleteManifest(app, one.digest, 500)
    assert.ok(await catalog.manifest(alpine, one.digest))
    await catalog.deleteManifest(alpine, one.digest, 500)
    assert.equal(await catalog.manifest(alpine, one.digest), undefined)
  })

  test('a manifest that is a layer of another one as well stays as that', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, one.digest, fileOf(9), 50)
    await catalog.putManifest(app, one, { references: [], tags: [latest], at: 100 })
    assert.equal((await catalog.held(app, one.digest))?.idleSince, undefined)
    const references = [{ target: one.digest, kind: 'layer' }] as const
    assert.deepEqual(await catalog.putManifest(app, two, { references, tags: [], at: 100 }), [])
    assert.equal(await catalog.deleteManifest(app, one.digest, 500), true)
    assert.equal(await catalog.manifest(app, one.digest), undefined)
    assert.equal(await catalog.lease(app, one.digest, 500, 1000), true)
    await catalog.deleteManifest(app, two.digest, 600)
    assert.equal((await catalog.held(app, one.digest))?.idleSince, 600)
  })

  test('a blob is deleted unless a manifest of its repository needs it', async (t) => {
    const { catalog } = await open(t)
    await push(catalog)
    assert.equal(await catalog.deleteBlob(app, layer), false)
    assert.equal(await catalog.deleteBlob(app, one.digest), false, 'a manifest')
    await catalog.deleteManifest(app, one.digest, 500)
    assert.equal(await catalog.deleteBlob(app, layer), true)
    assert.equal(await catalog.deleteBlob(app, layer), false)
    assert.equal((await catalog.blob(layer))?.kept, false)
  })

  test('what was idle for long enough is let go, bytes and all', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, layer, fileOf(5), 50)
    await catalog.pushed(other, blobOf('x'), fileOf(5), 40)
    const [first, second] = [
      { repository: other, digest: blobOf('x') },
      { repository: app, digest: layer },
    ]
    assert.deepEqual(await catalog.idle(51, 10), [first, second])
    assert.deepEqual(await catalog.idle(50, 10), [first])
    assert.deepEqual(await catalog.idle(51, 1), [first])
    assert.equal(await catalog.letGo(app, layer, 50), 'kept')
    assert.equal(await catalog.letGo(app, layer, 51), 'unlink')
    assert.equal(await catalog.letGo(app, layer, 51), 'kept')
    assert.equal(await catalog.held(app, layer), undefined)
    assert.equal(await catalog.blob(layer), undefined)
  })

  test('let go where others hold it: the bytes stay, as cache where nobody keeps them', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, layer, fileOf(5), 50)
    await catalog.pushed(other, layer, fileOf(5), 60)
    await catalog.confirmed(alpine, layer, anyone(1))
    assert.equal(await catalog.letGo(app, layer, 100), 'kept')
    assert.equal((await catalog.blob(layer))?.kept, true)
    assert.equal(await catalog.letGo(other, layer, 100), 'kept')
    assert.equal((await catalog.blob(layer))?.kept, false)
    assert.equal(await catalog.evict(layer, 100), true)
  })

  test('nothing is let go of a repository into which something is being uploaded', async (t) => {
    const { catalog, reopen } = await open(t)
    await catalog.pushed(app, layer, fileOf(5), 50)
    await catalog.beginUpload('u', app, 60)
    assert.equal(await catalog.letGo(app, layer, 100), 'kept')
    assert.equal(await (await reopen()).letGo(app, layer, 100), 'kept')
    const later = await reopen()
    await later.endUpload('u')
    assert.equal(await later.letGo(app, layer, 100), 'unlink')
  })

  test('an upload is known from its begin to its end, and makes no repository', async (t) => {
    const { catalog, reopen } = await open(t)
    await catalog.beginUpload('one', app, 10)
    await catalog.beginUpload('two', other, 5)
    const later = await reopen()
    assert.deepEqual(await later.upload('one'), { id: 'one', repository: app, touchedAt: 10 })
    assert.deepEqual(
      (await later.staleUploads(11, 10)).map(({ id }) => id),
      ['two', 'one'],
    )
    assert.deepEqual(
      (await later.staleUploads(10, 10)).map(({ id }) => id),
      ['two'],
    )
    assert.equal(await later.touchUpload('two', 99), true)
    assert.equal(await later.touchUpload('three', 99), false)
    assert.deepEqual(
      (await later.staleUploads(99, 10)).map(({ id }) => id),
      ['one'],
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
