import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { Catalog, ReferenceKind } from '../../src/storage/catalog.ts'
import {
  app,
  fileOf,
  latest,
  layer,
  layerOf,
  manifestOf,
  type OpenCatalog,
  other,
} from './catalog-fixtures.ts'

const image = manifestOf('{"image":1}')
const index = manifestOf('{"index":1}')
const signature = manifestOf('{"signature":1}')
const above = manifestOf('{"above":1}')

type Manifest = typeof image

/** Which of these manifests are named by `manifest`, and as what. */
const naming = (kind: ReferenceKind, ...targets: Manifest[]) =>
  targets.map(({ digest }) => ({ target: digest, kind }) as const)

async function put(
  catalog: Catalog,
  manifest: Manifest,
  references: ReturnType<typeof naming> | [ReturnType<typeof layerOf>] = [],
  tags: readonly string[] = [],
) {
  assert.deepEqual(await catalog.putManifest(app, manifest, { references, tags: tags as Tag[], at: 100 }), [])
}

async function idleSince(catalog: Catalog, { digest }: Manifest): Promise<number | undefined> {
  const held = await catalog.held(app, digest)
  assert.ok(held?.mediaType !== undefined, 'the manifest is there')
  return held.idleSince
}

async function isHere(catalog: Catalog, { digest }: Manifest): Promise<boolean> {
  return (await catalog.held(app, digest)) !== undefined
}

/** An image by its digest, in an index that has a tag. */
async function pushIndex(catalog: Catalog): Promise<void> {
  await catalog.pushed(app, layer, fileOf(5), 50)
  await put(catalog, image, [layerOf('layer')])
  await put(catalog, index, naming('manifest', image), [latest])
}

/** An image that has a tag, and a signature of it. */
async function pushSigned(catalog: Catalog): Promise<void> {
  await put(catalog, image, [], [latest])
  await put(catalog, signature, naming('subject', image))
}

/** Manifests that are idle since what carried them was deleted, which goes in turn. */
export function idleManifestsContract(open: OpenCatalog): void {
  test('the images of a deleted index are idle, go, and make their layers idle', async (t) => {
    const { catalog, reopen } = await open(t)
    await pushIndex(catalog)
    assert.equal(await idleSince(catalog, image), undefined)
    assert.equal(await catalog.deleteManifest(app, index.digest, 500), 'deleted')
    for (const again of [async () => catalog, reopen])
      assert.equal(await idleSince(await again(), image), 500)
    const later = await reopen()
    const idle = { repository: app, digest: image.digest, idleSince: 500 }
    assert.deepEqual(await later.idle(9000, { limit: 9 }), [idle])
    assert.equal(await later.letGo(app, image.digest, 1500, 1000), 'kept')
    assert.equal(await later.letGo(app, image.digest, 1501, 1000), 'deleted')
    assert.equal(await later.letGo(app, image.digest, 1501, 1000), 'kept')
    assert.equal(await later.held(app, image.digest), undefined)
    assert.equal(await later.manifest(app, image.digest), undefined)
    assert.equal(await later.isPushed(app), false, 'the name is given back')
    assert.equal(await later.named(app, layer), undefined)
    assert.equal((await later.held(app, layer))?.idleSince, 1501)
    assert.equal(await later.letGo(app, layer, 2502, 1000), 'unlink')
  })

  test('an index in a deleted index is idle with all below it, and these after it', async (t) => {
    const { catalog } = await open(t)
    await pushIndex(catalog)
    await catalog.deleteTag(app, latest)
    await put(catalog, above, naming('manifest', index))
    await catalog.deleteManifest(app, above.digest, 500)
    assert.equal(await idleSince(catalog, index), 500)
    assert.equal(await idleSince(catalog, image), undefined)
    assert.equal(await catalog.letGo(app, index.digest, 2000, 1000), 'deleted')
    assert.equal(await idleSince(catalog, image), 2000)
  })

  test('an image of a deleted index that a tag or another index carries is not idle', async (t) => {
    const { catalog } = await open(t)
    const tagged = manifestOf('{"tagged":1}')
    await put(catalog, tagged, [], ['v1'])
    await put(catalog, image)
    await put(catalog, index, naming('manifest', tagged, image))
    await put(catalog, above, naming('manifest', image))
    await catalog.deleteManifest(app, index.digest, 500)
    assert.equal(await idleSince(catalog, tagged), undefined)
    assert.equal(await idleSince(catalog, image), undefined)
    await catalog.deleteTag(app, 'v1' as Tag)
    assert.equal(await idleSince(catalog, tagged), undefined, 'it is there by its digest')
    await catalog.deleteManifest(app, above.digest, 600)
    assert.equal(await idleSince(catalog, image), 600)
  })

  test('what lost its tag, or was pushed by its digest alone, is never idle', async (t) => {
    const { catalog } = await open(t)
    const [moved, digestOnly] = [manifestOf('{"moved":1}'), manifestOf('{"digest-only":1}')]
    await put(catalog, moved, [], [latest])
    await pushSigned(catalog)
    await put(catalog, digestOnly)
    await catalog.deleteTag(app, latest)
    await catalog.deleteManifest(app, signature.digest, 500)
    for (const one of [moved, image, digestOnly]) assert.equal(await idleSince(catalog, one), undefined)
    assert.deepEqual(await catalog.idle(9000, { limit: 9 }), [])
    assert.equal(await catalog.letGo(app, digestOnly.digest, 9000, 0), 'kept')
  })

  test('what is about a deleted manifest is idle, goes, and makes idle what is about it', async (t) => {
    const { catalog } = await open(t)
    await pushSigned(catalog)
    await put(catalog, above, naming('subject', signature))
    await catalog.deleteManifest(app, image.digest, 500)
    assert.equal(await idleSince(catalog, signature), 500)
    assert.equal(await idleSince(catalog, above), undefined)
    assert.equal((await catalog.naming(app, image.digest, 'subject', { limit: 9 })).length, 1)
    assert.equal(await catalog.letGo(app, signature.digest, 2000, 1000), 'deleted')
    assert.deepEqual(await catalog.naming(app, image.digest, 'subject', { limit: 9 }), [])
    assert.equal(await idleSince(catalog, above), 2000)
    assert.equal(await catalog.letGo(app, above.digest, 4000, 1000), 'deleted')
    assert.equal(await catalog.isPushed(app), false)
  })

  test('what is about a manifest that was never here is not idle', async (t) => {
    const { catalog } = await open(t)
    await put(catalog, signature, naming('subject', image))
    assert.equal(await catalog.deleteManifest(app, image.digest, 500), 'absent')
    assert.equal(await idleSince(catalog, signature), undefined)
  })

  test('an image that is about one that is here is carried by that, in whatever order they go', async (t) => {
    for (const first of [image, index]) {
      const { catalog } = await open(t)
      await pushSigned(catalog)
      await put(catalog, index, naming('manifest', signature))
      const second = first === image ? index : image
      await catalog.deleteManifest(app, first.digest, 500)
      assert.equal(await idleSince(catalog, signature), undefined)
      await catalog.deleteManifest(app, second.digest, 600)
      assert.equal(await idleSince(catalog, signature), 600)
    }
  })

  test('the attestation of a deleted index, which lists it and which it is about, is idle', async (t) => {
    const { catalog } = await open(t)
    await put(catalog, signature, naming('subject', index))
    await put(catalog, index, naming('manifest', signature), [latest])
    await catalog.deleteManifest(app, index.digest, 500)
    assert.equal(await idleSince(catalog, signature), 500)
  })

  for (const [what, end] of Object.entries<(catalog: Catalog) => Promise<void>>({
    'a tag': (catalog) => put(catalog, signature, naming('subject', image), ['v2']),
    'a push of it by its digest': (catalog) => put(catalog, signature, naming('subject', image)),
    'an index that lists it': (catalog) => put(catalog, index, naming('manifest', signature)),
    'the return of its subject': (catalog) => put(catalog, image),
  })) {
    test(`${what} ends the idleness of a manifest: it stays`, async (t) => {
      const { catalog, reopen } = await open(t)
      await pushSigned(catalog)
      await catalog.deleteManifest(app, image.digest, 500)
      await end(catalog)
      assert.equal(await idleSince(await reopen(), signature), undefined)
      const later = await reopen()
      assert.equal(await later.letGo(app, signature.digest, 9000, 1000), 'kept')
      assert.equal(await isHere(later, signature), true)
    })
  }

  test('whoever is told that an idle manifest is here may count on it for a while', async (t) => {
    const { catalog } = await open(t)
    await pushIndex(catalog)
    await catalog.deleteManifest(app, index.digest, 500)
    assert.equal(await catalog.lease(app, image.digest, 750, 1000), true)
    assert.equal(await idleSince(catalog, image), 500, 'not written at each question')
    assert.equal(await catalog.lease(app, image.digest, 1400, 1000), true)
    assert.equal(await idleSince(catalog, image), 1400)
    assert.equal(await catalog.letGo(app, image.digest, 2400, 1000), 'kept')
    assert.equal(await catalog.letGo(app, image.digest, 2401, 1000), 'deleted')
    assert.equal(await catalog.lease(app, image.digest, 2402, 1000), false)
  })

  test('a lease makes nothing idle that is not', async (t) => {
    const { catalog } = await open(t)
    await put(catalog, image)
    assert.equal(await catalog.lease(app, image.digest, 9000, 1000), true)
    assert.equal(await idleSince(catalog, image), undefined)
    assert.equal(await catalog.lease(other, image.digest, 9000, 1000), false)
  })

  test('an idle manifest waits for the uploads that began within its grace', async (t) => {
    const { catalog } = await open(t)
    await pushIndex(catalog)
    await catalog.deleteManifest(app, index.digest, 500)
    await catalog.beginUpload('u', app, 1500)
    assert.equal(await catalog.letGo(app, image.digest, 9000, 1000), 'kept')
    await catalog.endUpload('u')
    await catalog.beginUpload('later', app, 1501)
    assert.equal(await catalog.letGo(app, image.digest, 9000, 1000), 'deleted')
  })

  test('an idle manifest that is pushed as a blob too, and needed as such, stays', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, image.digest, fileOf(9), 50)
    await put(catalog, image)
    await put(catalog, index, naming('manifest', image))
    await put(catalog, above, naming('layer', image))
    await catalog.deleteManifest(app, index.digest, 500)
    assert.equal(await idleSince(catalog, image), undefined)
    await catalog.deleteManifest(app, above.digest, 600)
    assert.equal(await idleSince(catalog, image), 600)
    assert.equal(await catalog.letGo(app, image.digest, 2000, 1000), 'unlink')
    assert.equal(await catalog.manifest(app, image.digest), undefined)
  })

  test('what one repository deletes makes nothing idle in another', async (t) => {
    const { catalog } = await open(t)
    await pushIndex(catalog)
    const about = { tags: [], at: 100 }
    await catalog.putManifest(other, image, { references: [], ...about })
    await catalog.putManifest(other, index, { references: naming('manifest', image), ...about })
    await catalog.deleteManifest(app, index.digest, 500)
    assert.equal((await catalog.held(other, image.digest))?.idleSince, undefined)
    assert.equal(await catalog.letGo(app, image.digest, 9000, 0), 'deleted')
    assert.ok(await catalog.manifest(other, image.digest))
  })
}
