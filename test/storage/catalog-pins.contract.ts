import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '../../src/oci/digest.ts'
import type { Tag } from '../../src/oci/reference.ts'
import type { Catalog, ManifestRecord, ManifestReference } from '../../src/storage/catalog.ts'
import type { PinPattern } from '../../src/storage/pins.ts'
import type { RepositoryKey } from '../../src/storage/repository-key.ts'
import {
  alpine,
  anyone,
  app,
  blobOf,
  fileOf,
  latest,
  layer,
  layerOf,
  manifestOf,
  type OpenCatalog,
  one,
  push,
  repositoryOf,
  two,
} from './catalog-fixtures.ts'

const quay = repositoryOf('quay.io', 'library/alpine')
const index = manifestOf('{"index":1}', 'application/vnd.oci.image.index.v1+json')
const [base, top, config] = [blobOf('base'), blobOf('top'), blobOf('config')]
const parts: ManifestReference[] = [{ target: config, kind: 'config' }, layerOf('base'), layerOf('top')]
const stable = 'stable' as Tag

/** What is wanted for ever. */
export function pinsContract(open: OpenCatalog): void {
  test('what a pinned tag points at is kept, with all that it needs and nothing else', async (t) => {
    const { catalog, reopen } = await open(t)
    await fetched(catalog, base, top, config, layer)
    await given(catalog, alpine, one, parts, latest)
    await given(catalog, alpine, two, [layerOf('layer')], stable)
    await catalog.pin(pinOf('latest'), 500)
    for (const again of [async () => catalog, reopen]) {
      const opened = await again()
      assert.deepEqual(await keptOf(opened, base, top, config, layer), [true, true, true, false])
      assert.deepEqual(await opened.usage(), {
        cached: { blobs: 1, bytes: 4 },
        kept: { blobs: 3, bytes: 6 },
      })
      const next = await opened.leastRecent({ limit: 9 })
      assert.deepEqual(
        next.map(({ digest }) => digest),
        [layer],
      )
      assert.equal(await opened.evict(base, 1e6), false)
      const [holder, ...others] = await opened.keeping(base, 9)
      assert.deepEqual([holder?.repository, holder?.pinnedAt, others], [alpine, 500, []])
      assert.equal((await opened.held(alpine, one.digest))?.pinnedAt, 500)
    }
  })

  test('bytes that come later are kept when they come', async (t) => {
    const { catalog } = await open(t)
    await catalog.pin(pinOf('latest'), 500)
    await given(catalog, alpine, one, parts, latest)
    await fetched(catalog, base)
    await catalog.adopt(top, fileOf(1), 10)
    await catalog.verified(config, fileOf(1), 10)
    assert.deepEqual(await keptOf(catalog, base, top, config), [true, true, true])
  })

  test('an index pins the children that are here, and those that come later', async (t) => {
    const { catalog } = await open(t)
    await fetched(catalog, base, layer)
    await given(catalog, alpine, one, [layerOf('base')])
    await given(catalog, alpine, index, [child(one), child(two)], latest)
    await catalog.pin(pinOf('latest'), 500)
    assert.deepEqual(await keptOf(catalog, base, layer), [true, false])
    await given(catalog, alpine, two, [layerOf('layer')])
    assert.deepEqual(await keptOf(catalog, base, layer), [true, true])
    await catalog.deleteManifest(alpine, index.digest, 600)
    assert.deepEqual(await keptOf(catalog, base, layer), [false, false])
  })

  test('what is about a pinned manifest is not pinned by that', async (t) => {
    const { catalog } = await open(t)
    await fetched(catalog, base, layer)
    await given(catalog, alpine, one, [layerOf('base')], latest)
    await given(catalog, alpine, two, [{ target: one.digest, kind: 'subject' }, layerOf('layer')])
    await catalog.pin(pinOf('*'), 500)
    assert.deepEqual(await keptOf(catalog, base, layer), [true, false])
  })

  const moves: Record<string, (catalog: Catalog) => Promise<unknown>> = {
    pulled: (catalog) => given(catalog, alpine, two, [layerOf('base'), layerOf('layer')], latest),
    checked: async (catalog) => {
      await given(catalog, alpine, two, [layerOf('base'), layerOf('layer')])
      await catalog.checked(alpine, latest, two.digest, anyone(600))
    },
    put: async (catalog) => {
      for (const one of [base, layer]) await catalog.pushed(alpine, one, fileOf(1), 10)
      await catalog.putManifest(alpine, two, {
        ...putAt(600),
        references: [layerOf('base'), layerOf('layer')],
      })
    },
  }
  for (const [how, move] of Object.entries(moves)) {
    test(`a pinned tag moves, ${how}: what the former alone needed is free, what both need stays`, async (t) => {
      const { catalog } = await open(t)
      await fetched(catalog, base, top, layer)
      await given(catalog, alpine, one, [layerOf('base'), layerOf('top')], latest)
      await catalog.pin(pinOf('latest'), 500)
      await move(catalog)
      assert.deepEqual(await pinnedAt(catalog, base, top, layer), [500, undefined, 600])
      assert.deepEqual(await keptOf(catalog, base, top, layer), [true, false, true])
    })
  }

  test('a pinned tag goes', async (t) => {
    const { catalog } = await open(t)
    await fetched(catalog, base, layer)
    await given(catalog, alpine, one, [layerOf('base')], latest)
    await given(catalog, alpine, two, [layerOf('base'), layerOf('layer')], stable)
    await catalog.pin(pinOf('*'), 500)
    await catalog.deleteTag(alpine, stable)
    assert.deepEqual(await keptOf(catalog, base, layer), [true, false])
    await catalog.deleteManifest(alpine, one.digest, 600)
    assert.deepEqual(await keptOf(catalog, base, layer), [false, false])
    assert.deepEqual(await catalog.keeping(base, 9), [])
  })

  test('a manifest that names other things than before', async (t) => {
    const { catalog } = await open(t)
    await fetched(catalog, base, top)
    await catalog.pin(pinOf('*'), 500)
    await given(catalog, alpine, one, [layerOf('base')], latest)
    await given(catalog, alpine, one, [layerOf('top')])
    assert.deepEqual(await keptOf(catalog, base, top), [false, true])
  })

  test('patterns are of one origin, of names, and of tags', async (t) => {
    const { catalog } = await open(t)
    const deep = repositoryOf('docker.io', 'team/a/b')
    const repositories: [RepositoryKey, string][] = [
      [alpine, '1.0'],
      [quay, '1.0'],
      [deep, '1.0'],
      [alpine, '1x0'],
      [alpine, '11.0'],
    ]
    const kept = async (pattern: PinPattern) => {
      await catalog.pin(pattern, 500)
      const found: string[] = []
      for (const [repository, tag] of repositories) {
        const [{ repository: keeper } = {}] = await catalog.keeping(blobOf(`${repository}:${tag}`), 9)
        if (keeper) found.push(`${keeper}:${tag}`)
      }
      await catalog.unpin(pattern)
      return found
    }
    for (const [repository, tag] of repositories) {
      const text = `${repository}:${tag}`
      await given(catalog, repository, manifestOf(JSON.stringify({ text })), [layerOf(text)], tag as Tag)
    }
    const [origin, repository] = ['docker.io', 'library/alpine']
    assert.deepEqual(await kept({ origin, repository, tag: '1.0' }), [`${alpine}:1.0`])
    assert.deepEqual(await kept({ origin, repository, tag: '1*' }), [
      `${alpine}:1.0`,
      `${alpine}:1x0`,
      `${alpine}:11.0`,
    ])
    assert.deepEqual(await kept({ origin, repository: 'library/*', tag: '*1.0' }), [
      `${alpine}:1.0`,
      `${alpine}:11.0`,
    ])
    assert.deepEqual(await kept({ origin, repository: '**', tag: '1.0' }), [`${alpine}:1.0`, `${deep}:1.0`])
    assert.deepEqual(await kept({ origin, repository: '*', tag: '*' }), [])
    assert.deepEqual(await kept({ origin: 'quay.io', repository: 'library/al*', tag: '*' }), [`${quay}:1.0`])
    assert.deepEqual(await kept({ origin: 'docker', repository: '**', tag: '*' }), [])
  })

  test('a repository that becomes known later is pinned as well', async (t) => {
    const { catalog } = await open(t)
    await catalog.pin({ origin: 'docker.io', repository: 'library/*', tag: '*' }, 500)
    await given(catalog, alpine, one, [layerOf('base')], latest, 700)
    assert.deepEqual(await pinnedAt(catalog, base), [700])
  })

  test('pins are listed, each once; of two the one that is left counts', async (t) => {
    const { catalog, reopen } = await open(t)
    await fetched(catalog, base)
    await given(catalog, alpine, one, [layerOf('base')], latest)
    const [narrow, wide] = [pinOf('latest'), { origin: 'docker.io', repository: '**', tag: '*' }]
    await catalog.pin(narrow, 500)
    await catalog.pin(wide, 600)
    await catalog.pin(narrow, 700)
    const listed = [
      { pattern: wide, pinnedAt: 600 },
      { pattern: narrow, pinnedAt: 500 },
    ]
    assert.deepEqual(await catalog.pins(), listed)
    const later = await reopen()
    assert.deepEqual(await later.pins(), listed)
    assert.equal(await later.unpin(narrow), true)
    assert.equal(await later.unpin(narrow), false)
    assert.deepEqual(await keptOf(later, base), [true])
    assert.equal(await later.unpin(wide), true)
    assert.deepEqual(await keptOf(later, base), [false])
    assert.deepEqual(await later.pins(), [])
  })

  test('to be pinned is no evidence: nobody is given anything by it', async (t) => {
    const { catalog } = await open(t)
    const times = { at: 1000, refusedAfter: 0 }
    const named = layerOf('base')
    await fetched(catalog, base)
    await given(catalog, alpine, one, [named], latest)
    await catalog.pin(pinOf('*'), 500)
    assert.deepEqual(await keptOf(catalog, base), [true])
    assert.equal(await catalog.held(alpine, base), undefined)
    assert.equal(await catalog.isFree(base, times), false)
    assert.deepEqual(await catalog.holders(base, 9), [])
    assert.deepEqual(await catalog.localHolders(base, 9), [])
    assert.equal(await catalog.mount(app, base, 'free', times), false)
    assert.equal(await catalog.mount(app, base, alpine, times), false)
    assert.equal(await catalog.lease(alpine, base, 1000, 1000), false)
    assert.equal(await catalog.deleteBlob(alpine, base), 'absent')
    const put = { references: [named], tags: [], at: 1000 }
    assert.deepEqual(await catalog.putManifest(alpine, two, put), [base])
    await catalog.confirmed(alpine, base, anyone(700))
    const held = await catalog.held(alpine, base)
    assert.deepEqual([held?.publicAt, held?.pinnedAt], [700, 500])
  })

  test('what is taken away from a repository stays as long as it is pinned, and is no evidence any more', async (t) => {
    const { catalog } = await open(t)
    await fetched(catalog, base, layer)
    await given(catalog, alpine, one, [layerOf('base'), layerOf('layer')])
    await given(catalog, alpine, index, [child(one)], latest)
    await catalog.confirmed(alpine, base, anyone(5))
    await catalog.pin(pinOf('*'), 500)
    assert.equal(await catalog.deleteBlob(alpine, base), 'kept')
    assert.equal(await catalog.held(alpine, base), undefined)
    assert.deepEqual(await pinnedAt(catalog, base), [500])
    assert.equal(await catalog.deleteManifest(alpine, one.digest, 600), 'deleted')
    assert.equal(await catalog.held(alpine, one.digest), undefined)
    assert.deepEqual(await pinnedAt(catalog, one.digest, base, layer), [500, undefined, undefined])
    await given(catalog, alpine, one, [layerOf('base')])
    assert.deepEqual(await pinnedAt(catalog, one.digest, base, layer), [500, 600, undefined])
  })

  test('what was pushed stays kept when it is pinned no more, and goes with its push', async (t) => {
    const { catalog } = await open(t)
    await push(catalog)
    const pattern = { origin: 'local', repository: 'app', tag: '*' }
    await catalog.pin(pattern, 500)
    assert.deepEqual(await pinnedAt(catalog, layer), [500])
    await catalog.unpin(pattern)
    assert.deepEqual(await keptOf(catalog, layer), [true])
    assert.equal((await catalog.held(app, layer))?.localAt, 50)
    await catalog.pin(pattern, 500)
    await catalog.deleteManifest(app, one.digest, 600)
    assert.equal(await catalog.letGo(app, layer, 1000, 100), 'unlink')
  })
}

function pinOf(tag: string): PinPattern {
  return { origin: 'docker.io', repository: 'library/alpine', tag }
}

function child({ digest }: ManifestRecord): ManifestReference {
  return { target: digest, kind: 'manifest' }
}

function putAt(at: number) {
  return { tags: [latest], at }
}

async function fetched(catalog: Catalog, ...digests: Digest[]): Promise<void> {
  for (const [n, digest] of digests.entries()) await catalog.sealed(digest, fileOf(n + 1), 10)
}

/** Its upstream gave a manifest to anyone, and that tag for it. */
async function given(
  catalog: Catalog,
  repository: RepositoryKey,
  manifest: ManifestRecord,
  references: readonly ManifestReference[],
  tag?: Tag,
  at = 600,
): Promise<void> {
  await catalog.pulled(repository, manifest, { ...anyone(at), tag, references })
}

async function keptOf(catalog: Catalog, ...digests: Digest[]): Promise<(boolean | undefined)[]> {
  return Promise.all(digests.map(async (digest) => (await catalog.blob(digest))?.kept))
}

async function pinnedAt(catalog: Catalog, ...digests: Digest[]): Promise<(number | undefined)[]> {
  return Promise.all(digests.map(async (digest) => (await catalog.keeping(digest, 1))[0]?.pinnedAt))
}
