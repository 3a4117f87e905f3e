import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import {
  alpine,
  latest,
  manifestOf,
  type OpenCatalog,
  one,
  pull,
  repositoryOf,
  two,
} from './catalog-fixtures.ts'

/** Many at once, failing ones, and the end. */
export function writeContract(open: OpenCatalog): void {
  test('hundreds of writes at once all resolve, are seen at once, and are there later', async (t) => {
    const { catalog, reopen } = await open(t)
    const count = 400
    const repositoryAt = (n: number) => repositoryOf('docker.io', `library/r${n % 7}`)
    const recordOf = (n: number) => ({ digest: manifestOf(`{"n":${n % 50}}`).digest, checkedAt: n })
    const write = async (n: number) => {
      await pull(catalog, repositoryAt(n), manifestOf(`{"n":${n % 50}}`), n, `t${n}`)
      assert.deepEqual(await catalog.tag(repositoryAt(n), `t${n}` as Tag), recordOf(n))
    }
    await Promise.all(Array.from({ length: count }, (_, n) => write(n)))
    const later = await reopen()
    for (let n = 0; n < count; n += 1) {
      assert.deepEqual(await later.tag(repositoryAt(n), `t${n}` as Tag), recordOf(n))
      assert.ok(await later.manifest(repositoryAt(n), recordOf(n).digest))
    }
  })

  test('writes of one tag at once: the last one counts', async (t) => {
    const { catalog } = await open(t)
    await Promise.all(
      Array.from({ length: 100 }, (_, n) => pull(catalog, alpine, n % 2 ? one : two, n, latest)),
    )
    assert.deepEqual(await catalog.tag(alpine, latest), { digest: one.digest, checkedAt: 99 })
  })

  test('a write that fails takes none of those beside it along, and leaves nothing of its own', async (t) => {
    const { catalog } = await open(t)
    const other = repositoryOf('quay.io', 'library/alpine')
    const outcomes = await Promise.allSettled([
      pull(catalog, alpine, one, 1, 'a'),
      pull(catalog, alpine, one, Number.NaN, 'b'),
      pull(catalog, other, two, 0.5, 'b'),
      pull(catalog, alpine, one, 1, 'c'),
    ])
    assert.deepEqual(
      outcomes.map((outcome) => outcome.status),
      ['fulfilled', 'rejected', 'rejected', 'fulfilled'],
    )
    for (const outcome of outcomes)
      assert.ok(outcome.status === 'fulfilled' || outcome.reason instanceof Error)
    assert.deepEqual(await catalog.tags(alpine), ['a', 'c'])
    assert.equal(await catalog.manifest(other, two.digest), undefined, 'a transaction is whole or not at all')
    assert.equal(await catalog.repository(other), undefined)
    await pull(catalog, alpine, one, 1, 'b')
    assert.deepEqual(await catalog.tags(alpine), ['a', 'b', 'c'])
  })

  test('what was being written when it was closed is there later', async (t) => {
    const { catalog, reopen } = await open(t)
    const writes = Array.from({ length: 50 }, (_, n) => pull(catalog, alpine, one, n, `t${n}`))
    const [later] = await Promise.all([reopen(), ...writes])
    assert.equal((await later.tags(alpine)).length, 50)
  })

  test('a write after it was closed rejects', async (t) => {
    const { catalog, reopen } = await open(t)
    await reopen()
    await assert.rejects(pull(catalog, alpine), Error)
  })
}
