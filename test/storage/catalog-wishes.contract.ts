import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Tag } from '../../src/oci/reference.ts'
import type { Wish } from '../../src/storage/wishes.ts'
import { alpine, blobOf, latest, type OpenCatalog, repositoryOf } from './catalog-fixtures.ts'

const wish: Wish = {
  repository: repositoryOf('docker.io', 'never/heard/of'),
  reference: latest,
  kind: 'manifest',
  platform: 'linux/arm64',
  askedAt: 5,
  dueAt: 6,
}

/** What could not be had, and is to be fetched later. */
export function wishesContract(open: OpenCatalog): void {
  test('a wish is there from then on, also later, until it is fulfilled; no repository is known by it', async (t) => {
    const { catalog, reopen } = await open(t)
    assert.deepEqual(await catalog.wishes(), [])
    await catalog.wish(wish, 10)
    assert.deepEqual(await catalog.wishes(), [wish])
    const later = await reopen()
    assert.deepEqual(await later.wishes(), [wish])
    assert.equal(await later.repository(wish.repository), undefined)
    assert.deepEqual([await later.unwish(wish), await later.unwish(wish)], [true, false])
    assert.deepEqual(await later.wishes(), [])
  })

  test('one for the same takes its place, and keeps for which machine it was', async (t) => {
    const { catalog } = await open(t)
    await catalog.wish(wish, 10)
    await catalog.wish({ ...wish, platform: undefined, askedAt: 8, dueAt: 9 }, 10)
    assert.deepEqual(await catalog.wishes(), [{ ...wish, askedAt: 8, dueAt: 9 }])
  })

  test('a blob and a manifest of one digest are two; those that were wanted first are first, and go first', async (t) => {
    const { catalog } = await open(t)
    const digest = blobOf('one')
    const wishes: Wish[] = [
      { ...wish, repository: alpine, reference: digest, kind: 'blob', platform: undefined, askedAt: 3 },
      { ...wish, repository: alpine, reference: digest, askedAt: 4 },
      wish,
    ]
    for (const one of wishes.toReversed()) await catalog.wish(one, 3)
    assert.deepEqual(await catalog.wishes(), wishes)
    await catalog.wish({ ...wish, reference: '1' as Tag, askedAt: 7 }, 3)
    assert.deepEqual((await catalog.wishes()).slice(0, 2), wishes.slice(1))
    await catalog.unwish({ repository: alpine, reference: digest, kind: 'manifest' })
    assert.equal((await catalog.wishes()).length, 2)
  })
}
