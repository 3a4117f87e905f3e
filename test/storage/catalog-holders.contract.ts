import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { RepositoryKey } from '../../src/storage/repository-key.ts'
import {
  alpine,
  anyone,
  app,
  blobOf,
  fileOf,
  layerOf,
  manifestOf,
  type OpenCatalog,
  other,
  put,
  repositoryOf,
} from './catalog-fixtures.ts'

const blob = blobOf('layer')
const [debian, quay, vault] = [
  repositoryOf('docker.io', 'library/debian'),
  repositoryOf('quay.io', 'x'),
  repositoryOf('docker.io', 'team/vault'),
]

/** Who has a digest, who names it, and who keeps it. */
export function holdersContract(open: OpenCatalog): void {
  test('whose upstream gave it: to anyone first, the last one first, then to an account; nobody local', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, blob, fileOf(5), 50)
    await catalog.confirmed(vault, blob, { as: 'account', at: 900 })
    await catalog.confirmed(alpine, blob, anyone(10))
    await catalog.confirmed(debian, blob, anyone(20))
    await catalog.confirmed(debian, blob, { as: 'account', at: 30 })
    await catalog.confirmed(quay, blob, anyone(15))
    await catalog.refused(quay, 40)
    const holders = await catalog.holders(blob, 10)
    assert.deepEqual(keysOf(holders), [debian, quay, alpine, vault])
    assert.deepEqual(keysOf(await catalog.holders(blob, 2)), [debian, quay])
    assert.deepEqual(keysOf(await catalog.holders(blob, 4)), [debian, quay, alpine, vault])
    assert.deepEqual(await catalog.holders(blobOf('other'), 10), [])
    for (const { repository, ...holding } of holders) {
      assert.deepEqual(holding, await catalog.held(repository, blob))
    }
    assert.equal(holders[1]?.refusedSince, 40)
  })

  test('who names it, of the upstreams alone, so many looked at a time', async (t) => {
    const { catalog } = await open(t)
    const given = { ...anyone(5), references: [layerOf('layer')] }
    await catalog.pulled(alpine, manifestOf('{"a":1}'), given)
    await catalog.pulled(debian, manifestOf('{"b":1}'), { ...given, references: [layerOf('else')] })
    const about = { target: blob, kind: 'subject' } as const
    await catalog.pulled(vault, manifestOf('{"c":1}'), { ...given, references: [about] })
    await catalog.pulled(quay, manifestOf('{"d":1}'), given)
    await catalog.pushed(app, blob, fileOf(5), 50)
    await catalog.putManifest(app, manifestOf('{"e":1}'), put)
    const first = await catalog.namers(blob, { limit: 2 })
    assert.deepEqual(first, { repositories: [alpine], last: debian })
    const second = await catalog.namers(blob, { after: first.last, limit: 2 })
    assert.deepEqual(second, { repositories: [], last: app })
    assert.deepEqual(await catalog.namers(blob, { after: second.last, limit: 2 }), {
      repositories: [quay],
      last: undefined,
    })
  })

  test('who keeps it: those that it was pushed to, or mounted into', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, blob, fileOf(5), 50)
    await catalog.mount(other, blob, app, { at: 60, refusedAfter: 0 })
    await catalog.confirmed(alpine, blob, anyone(10))
    const keeping = await catalog.keeping(blob, 10)
    assert.deepEqual(
      keeping.map(({ repository, localAt }) => [repository, localAt]),
      [
        [app, 50],
        [other, 60],
      ],
    )
    assert.deepEqual(keysOf(await catalog.keeping(blob, 1)), [app])
    await catalog.deleteBlob(app, blob)
    assert.deepEqual(keysOf(await catalog.keeping(blob, 10)), [other])
  })
}

function keysOf(holders: readonly { readonly repository: RepositoryKey }[]): RepositoryKey[] {
  return holders.map(({ repository }) => repository)
}
