import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Catalog } from '../../src/storage/catalog.ts'
import { localOrigin } from '../../src/storage/repository-key.ts'
import {
  anyone,
  blobOf,
  fileOf,
  type OpenCatalog,
  one,
  pull,
  push,
  repositoryOf,
} from './catalog-fixtures.ts'

const all = { after: '', limit: 100, part: '', at: 10_000, refusedAfter: 0 }
const hub = { ...all, origin: 'docker.io' }
const local = { ...all, origin: localOrigin }

async function pulled(catalog: Catalog, ...names: string[]): Promise<void> {
  for (const name of names) await pull(catalog, repositoryOf('docker.io', name))
}

export function listContract(open: OpenCatalog): void {
  test('names of an origin are listed in the order of their bytes, page by page, behind anything', async (t) => {
    const { catalog } = await open(t)
    await pulled(catalog, 'a/b', 'a', 'a-b', 'a.b', 'a0', 'b')
    await push(catalog, repositoryOf(localOrigin, 'a-local'))
    const names = ['a', 'a-b', 'a.b', 'a/b', 'a0', 'b']
    assert.deepEqual(await catalog.listed(hub), { names, last: undefined })
    for (const [n, after] of names.entries()) {
      const { names: page } = await catalog.listed({ ...hub, after, limit: 2 })
      assert.deepEqual(page, names.slice(n + 1, n + 3), after)
    }
    for (const [after, expected] of [
      ['a:x', ['b']],
      ['A', names],
      ['a/', ['a/b', 'a0', 'b']],
      ['a\u0000', ['a-b', 'a.b', 'a/b', 'a0', 'b']],
      ['\u{10ffff}', []],
      [`'"%_`, names],
    ] as const) {
      assert.deepEqual((await catalog.listed({ ...hub, after })).names, expected, after)
    }
    assert.deepEqual(await catalog.listed({ ...all, origin: 'quay.io' }), { names: [], last: undefined })
  })

  test('it says how far it looked where there may be more', async (t) => {
    const { catalog } = await open(t)
    await pulled(catalog, 'a', 'b')
    assert.deepEqual(await catalog.listed({ ...hub, limit: 1 }), { names: ['a'], last: 'a' })
    assert.deepEqual(await catalog.listed({ ...hub, limit: 2 }), { names: ['a', 'b'], last: 'b' })
    assert.deepEqual(await catalog.listed({ ...hub, limit: 3 }), { names: ['a', 'b'], last: undefined })
    assert.deepEqual(await catalog.listed({ ...hub, part: 'b', limit: 1 }), { names: [], last: 'a' })
  })

  test('those with a part in their names', async (t) => {
    const { catalog } = await open(t)
    await pulled(catalog, 'team/app', 'application', 'team/tool')
    const parts = { app: ['application', 'team/app'], 'm/': ['team/app', 'team/tool'], '%': [], p_: [] }
    for (const [part, names] of Object.entries(parts)) {
      assert.deepEqual((await catalog.listed({ ...hub, part })).names, names, part)
    }
  })

  test('what was pushed is listed while a manifest is in it, whatever became of its tags', async (t) => {
    const { catalog } = await open(t)
    const [app, begun] = [repositoryOf(localOrigin, 'app'), repositoryOf(localOrigin, 'begun')]
    await push(catalog, app)
    await catalog.pushed(begun, blobOf('blob'), fileOf(5), 1)
    await catalog.beginUpload('id', repositoryOf(localOrigin, 'nothing'), 1)
    assert.deepEqual((await catalog.listed(local)).names, ['app'])
    await catalog.deleteTag(app, 'latest' as never)
    assert.deepEqual((await catalog.listed(local)).names, ['app'])
    await catalog.deleteManifest(app, one.digest, 200)
    assert.deepEqual((await catalog.listed(local)).names, [])
  })

  test('what is mirrored is listed while anyone may have a manifest of it', async (t) => {
    const { catalog } = await open(t)
    const [open_, secret, blobs] = ['open', 'secret', 'blobs'].map((name) => repositoryOf('docker.io', name))
    assert.ok(open_ && secret && blobs)
    await pull(catalog, open_)
    await catalog.pulled(secret, one, { as: 'account', at: 1, references: [] })
    await catalog.confirmed(blobs, blobOf('blob'), anyone(1))
    assert.deepEqual((await catalog.listed(hub)).names, ['open'])
    await catalog.refused(open_, 5000)
    assert.deepEqual((await catalog.listed({ ...hub, refusedAfter: 4000 })).names, ['open'])
    assert.deepEqual((await catalog.listed({ ...hub, refusedAfter: 6000 })).names, [])
    await catalog.confirmed(open_, one.digest, anyone(7000))
    assert.deepEqual((await catalog.listed({ ...hub, refusedAfter: 6000 })).names, ['open'])
  })

  test('what no tag can be is told as it is', async (t) => {
    const { catalog } = await open(t)
    const repository = repositoryOf(localOrigin, 'app')
    for (const tags of [['"'], ['a', 'b","c'], ['\\', '\n', 'ä'], ['a,b', 'c']]) {
      await catalog.putManifest(repository, one, { references: [], tags: tags as never[], at: 1 })
      const found = (await catalog.tags(repository)) as readonly string[]
      assert.deepEqual(
        tags.filter((tag) => !found.includes(tag)),
        [],
      )
    }
    assert.equal((await catalog.tags(repository)).length, 8)
  })

  test('a thousand tags come in order, behind anything', async (t) => {
    const { catalog } = await open(t)
    const repository = repositoryOf(localOrigin, 'app')
    const tags = Array.from({ length: 1000 }, (_, n) => `v${n}`)
    await catalog.putManifest(repository, one, { references: [], tags: tags as never[], at: 1 })
    assert.deepEqual(await catalog.tags(repository), tags.toSorted())
    const after = 'v5\u0000"' as never
    assert.deepEqual(
      await catalog.tags(repository, { after, limit: 3 }),
      tags
        .toSorted()
        .slice(tags.toSorted().indexOf('v5') + 1)
        .slice(0, 3),
    )
  })
}
