import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { IdleContent } from '../../src/storage/catalog.ts'
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
  two,
} from './catalog-fixtures.ts'

/** What is deleted, and let go where nothing needs it. */
export function collectionContract(open: OpenCatalog): void {
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
    assert.equal(await catalog.deleteManifest(app, one.digest, 500), 'deleted')
    assert.equal(await catalog.deleteManifest(app, one.digest, 600), 'absent')
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
    assert.equal(await catalog.deleteManifest(app, one.digest, 500), 'deleted')
    assert.equal(await catalog.manifest(app, one.digest), undefined)
    assert.equal(await catalog.lease(app, one.digest, 500, 1000), true)
    await catalog.deleteManifest(app, two.digest, 600)
    assert.equal((await catalog.held(app, one.digest))?.idleSince, 600)
  })

  test('a blob is deleted unless a manifest of its repository needs it', async (t) => {
    const { catalog } = await open(t)
    await push(catalog)
    assert.equal(await catalog.deleteBlob(app, layer), 'needed')
    assert.equal(await catalog.deleteBlob(app, one.digest), 'absent', 'a manifest')
    assert.equal(await catalog.deleteBlob(other, layer), 'absent')
    await catalog.deleteManifest(app, one.digest, 500)
    assert.equal(await catalog.deleteBlob(app, layer), 'unlink')
    assert.equal(await catalog.deleteBlob(app, layer), 'absent')
    assert.equal(await catalog.blob(layer), undefined)
  })

  test('the bytes of a deleted blob stay where another repository holds it', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, layer, fileOf(5), 50)
    await catalog.pushed(other, layer, fileOf(5), 60)
    await catalog.confirmed(alpine, layer, anyone(1))
    assert.equal(await catalog.deleteBlob(app, layer), 'kept')
    assert.equal((await catalog.blob(layer))?.kept, true)
    assert.equal(await catalog.deleteBlob(other, layer), 'kept')
    assert.equal((await catalog.blob(layer))?.kept, false, 'it is cache now')
    assert.equal(await catalog.deleteBlob(alpine, layer), 'unlink')
  })

  test('what is mirrored is forgotten, whatever needs it', async (t) => {
    const { catalog } = await open(t)
    await catalog.confirmed(alpine, layer, anyone(1))
    const index = [{ target: one.digest, kind: 'manifest' }] as const
    await catalog.pulled(alpine, one, { ...anyone(1), references: [layerOf('layer')] })
    await catalog.pulled(alpine, two, { ...anyone(1), references: index })
    assert.equal(await catalog.deleteBlob(alpine, layer), 'kept')
    assert.equal(await catalog.held(alpine, layer), undefined)
    assert.equal(await catalog.deleteManifest(alpine, one.digest, 500), 'deleted')
  })

  test('a manifest that an index of its repository lists is not deleted before that', async (t) => {
    const { catalog } = await open(t)
    await push(catalog)
    const references = [{ target: one.digest, kind: 'manifest' }] as const
    await catalog.putManifest(app, two, { references, tags: ['all' as Tag], at: 100 })
    assert.equal(await catalog.deleteManifest(app, one.digest, 500), 'needed')
    assert.deepEqual(await catalog.tags(app), ['all', latest])
    assert.equal(await catalog.deleteManifest(app, two.digest, 500), 'deleted')
    assert.equal(await catalog.deleteManifest(app, one.digest, 500), 'deleted')
  })

  test('a manifest that others are about is deleted all the same', async (t) => {
    const { catalog } = await open(t)
    await push(catalog)
    const references = [{ target: one.digest, kind: 'subject' }] as const
    await catalog.putManifest(app, two, { references, tags: [], at: 100 })
    assert.equal(await catalog.deleteManifest(app, one.digest, 500), 'deleted')
    assert.equal((await catalog.naming(app, one.digest, 'subject', { limit: 9 })).length, 1)
  })

  test('a repository is one that was pushed to while a manifest is in it', async (t) => {
    const { catalog, reopen } = await open(t)
    await catalog.pulled(alpine, one, { ...anyone(1), tag: latest, references: [] })
    await catalog.pushed(app, layer, fileOf(5), 50)
    await catalog.pushed(app, one.digest, fileOf(9), 50)
    for (const none of [alpine, other, app]) assert.equal(await catalog.isPushed(none), false, none)
    await catalog.putManifest(app, one, { ...put, tags: [] })
    assert.equal(await catalog.isPushed(app), true)
    await catalog.putManifest(app, two, put)
    await catalog.deleteTag(app, latest)
    await catalog.deleteManifest(app, one.digest, 500)
    assert.equal(await (await reopen()).isPushed(app), true)
    const later = await reopen()
    await later.deleteManifest(app, two.digest, 500)
    assert.equal(await later.isPushed(app), false)
  })

  test('what was idle for long enough is let go, bytes and all', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, layer, fileOf(5), 50)
    await catalog.pushed(other, blobOf('x'), fileOf(5), 40)
    const [first, second] = [
      { repository: other, digest: blobOf('x'), idleSince: 40 },
      { repository: app, digest: layer, idleSince: 50 },
    ]
    assert.deepEqual(await catalog.idle(51, { limit: 10 }), [first, second])
    assert.deepEqual(await catalog.idle(50, { limit: 10 }), [first])
    assert.deepEqual(await catalog.idle(51, { limit: 1 }), [first])
    assert.equal(await catalog.letGo(app, layer, 1050, 1000), 'kept')
    assert.equal(await catalog.letGo(app, layer, 1051, 1000), 'unlink')
    assert.equal(await catalog.letGo(app, layer, 1051, 1000), 'kept')
    assert.equal(await catalog.held(app, layer), undefined)
    assert.equal(await catalog.blob(layer), undefined)
  })

  test('let go where others hold it: the bytes stay, as cache where nobody keeps them', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, layer, fileOf(5), 50)
    await catalog.pushed(other, layer, fileOf(5), 60)
    await catalog.confirmed(alpine, layer, anyone(1))
    assert.equal(await catalog.letGo(app, layer, 100, 0), 'kept')
    assert.equal((await catalog.blob(layer))?.kept, true)
    assert.equal(await catalog.letGo(other, layer, 100, 0), 'kept')
    assert.equal((await catalog.blob(layer))?.kept, false)
    assert.equal(await catalog.evict(layer, 100), true)
  })

  test('idle blobs come in pages, of whatever repository and however many of one moment', async (t) => {
    const { catalog } = await open(t)
    const all: IdleContent[] = []
    for (const [n, repository] of [app, other, app, other, app].entries()) {
      const idleSince = n < 3 ? 40 : 50
      await catalog.pushed(repository, blobOf(`${n}`), fileOf(5), idleSince)
      all.push({ repository, digest: blobOf(`${n}`), idleSince })
    }
    for (const limit of [1, 2, 3, 9]) {
      const found: IdleContent[] = []
      for (let after: IdleContent | undefined; ; after = found.at(-1)) {
        const page = await catalog.idle(51, { limit, after })
        assert.ok(page.length <= limit)
        if (page.length === 0) break
        found.push(...page)
      }
      assert.deepEqual(found, await catalog.idle(51, { limit: 9 }), `${limit} at a time`)
      assert.deepEqual(new Set(found.map((one) => one.digest)), new Set(all.map((one) => one.digest)))
    }
    // Where the last one of a page has gone meanwhile, the next ones come all the same.
    const [first, ...others] = await catalog.idle(51, { limit: 9 })
    assert.equal(await catalog.letGo(first?.repository ?? app, first?.digest ?? layer, 100, 0), 'unlink')
    assert.deepEqual(await catalog.idle(51, { limit: 9, after: first }), others)
  })

  test('what was promised when an upload to the repository began is let go of only after it', async (t) => {
    const { catalog, reopen } = await open(t)
    await catalog.pushed(app, layer, fileOf(5), 50)
    await catalog.beginUpload('u', app, 150)
    assert.equal(await catalog.letGo(app, layer, 10_000, 100), 'kept')
    assert.equal(await (await reopen()).letGo(app, layer, 10_000, 100), 'kept')
    const later = await reopen()
    await later.endUpload('u')
    assert.equal(await later.letGo(app, layer, 10_000, 100), 'unlink')
  })

  test('what was past its grace when all uploads to the repository began is no promise: it is let go', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, layer, fileOf(5), 50)
    await catalog.beginUpload('u', app, 151)
    await catalog.beginUpload('of another repository', other, 60)
    assert.equal(await catalog.letGo(app, layer, 10_000, 100), 'unlink')
  })

  test('bytes that may go are remembered until they are gone, and may not where they are somebody’s again', async (t) => {
    const { catalog, reopen } = await open(t)
    const cached = blobOf('cached')
    await catalog.sealed(cached, fileOf(1), 1)
    await catalog.pushed(app, layer, fileOf(5), 50)
    assert.equal(await catalog.mayGo(layer), false, 'nobody has let it go')
    assert.equal(await catalog.letGo(app, layer, 100, 0), 'unlink')
    assert.equal(await catalog.evict(cached, 100), true)
    const both = [layer, cached].toSorted()
    for (const again of [async () => catalog, reopen]) {
      const opened = await again()
      assert.deepEqual(await opened.removals({ limit: 9 }), both)
      assert.deepEqual(await opened.removals({ limit: 1 }), both.slice(0, 1))
      assert.deepEqual(await opened.removals({ limit: 9, after: both[0] }), both.slice(1))
      for (const one of both) assert.equal(await opened.mayGo(one), true)
    }
    const later = await reopen()
    await later.pushed(other, layer, fileOf(5), 60)
    assert.equal(await later.mayGo(layer), false, 'it has a record')
    await later.gone(layer)
    assert.equal(await later.mayGo(layer), false, 'somebody keeps it')
    await later.removed(both)
    assert.deepEqual(await later.removals({ limit: 9 }), [])
    assert.equal(await later.mayGo(cached), false)
  })
}
