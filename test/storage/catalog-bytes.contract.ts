import assert from 'node:assert/strict'
import { test } from 'node:test'
import { alpine, anyone, app, blobOf, fileOf, type OpenCatalog } from './catalog-fixtures.ts'

/** The bytes that are here: what is known of their files, and which go first. */
export function bytesContract(open: OpenCatalog): void {
  const [blob, other, third] = [blobOf('blob'), blobOf('other'), blobOf('third')]

  test('a sealed file is recorded as it is, also later', async (t) => {
    const { catalog, reopen } = await open(t)
    await catalog.sealed(blob, fileOf(3), 10)
    for (const again of [async () => catalog, reopen]) {
      const opened = await again()
      const expected = { ...fileOf(3), usedAt: 10, verifiedAt: 10, kept: false }
      assert.deepEqual(await opened.blob(blob), expected)
    }
  })

  test('numbers of a file up to 2^53', async (t) => {
    const { catalog } = await open(t)
    const largest = Number.MAX_SAFE_INTEGER
    const file = { size: largest, mtime: largest, inode: largest }
    await catalog.sealed(blob, file, 10)
    assert.deepEqual(await catalog.blob(blob), { ...file, usedAt: 10, verifiedAt: 10, kept: false })
  })

  test('a file without a record gets one when it is verified; one that has keeps when it was used', async (t) => {
    const { catalog } = await open(t)
    await catalog.verified(blob, fileOf(3), 20)
    assert.deepEqual(await catalog.blob(blob), { ...fileOf(3), usedAt: 20, verifiedAt: 20, kept: false })
    await catalog.verified(blob, fileOf(4), 30)
    assert.deepEqual(await catalog.blob(blob), { ...fileOf(4), usedAt: 20, verifiedAt: 30, kept: false })
  })

  test('use is recorded of what is here', async (t) => {
    const { catalog } = await open(t)
    await catalog.sealed(blob, fileOf(3), 10)
    await catalog.used([other, blob], 90)
    assert.equal((await catalog.blob(blob))?.usedAt, 90)
    assert.equal(await catalog.blob(other), undefined)
  })

  test('what is gone has no record, and a right to it stays', async (t) => {
    const { catalog } = await open(t)
    await catalog.confirmed(alpine, blob, anyone(5))
    await catalog.sealed(blob, fileOf(3), 10)
    await catalog.gone(blob)
    await catalog.gone(other)
    assert.equal(await catalog.blob(blob), undefined)
    assert.equal((await catalog.held(alpine, blob))?.publicAt, 5)
  })

  test('all that is here is counted', async (t) => {
    const { catalog } = await open(t)
    await catalog.sealed(blob, fileOf(3), 10)
    await catalog.sealed(blob, fileOf(3), 11)
    await catalog.pushed(app, other, fileOf(40), 10)
    assert.deepEqual(await catalog.usage(), { blobs: 2, bytes: 43 })
  })

  test('the least recently used go first, and nothing that is kept', async (t) => {
    const { catalog } = await open(t)
    await catalog.sealed(other, fileOf(2), 30)
    await catalog.sealed(blob, fileOf(1), 20)
    await catalog.pushed(app, third, fileOf(3), 10)
    const [first, second] = [
      { digest: blob, size: 1 },
      { digest: other, size: 2 },
    ]
    assert.deepEqual(await catalog.leastRecent(31, 10), [first, second])
    assert.deepEqual(await catalog.leastRecent(30, 10), [first])
    assert.deepEqual(await catalog.leastRecent(31, 1), [first])
    await catalog.used([blob], 40)
    assert.deepEqual(await catalog.leastRecent(100, 10), [second, first])
  })

  test('what was used since, or is kept, is not evicted', async (t) => {
    const { catalog } = await open(t)
    await catalog.sealed(blob, fileOf(1), 20)
    await catalog.pushed(app, other, fileOf(2), 20)
    assert.equal(await catalog.evict(blob, 20), false)
    assert.equal(await catalog.evict(other, 100), false)
    assert.equal(await catalog.evict(third, 100), false)
    assert.equal(await catalog.evict(blob, 21), true)
    assert.equal(await catalog.blob(blob), undefined)
    assert.ok(await catalog.blob(other))
  })

  test('a fill that is sealed after a push of the same leaves it kept', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, blob, fileOf(1), 10)
    await catalog.sealed(blob, fileOf(1), 20)
    assert.equal((await catalog.blob(blob))?.kept, true)
    await catalog.gone(blob)
    await catalog.verified(blob, fileOf(1), 30)
    assert.equal((await catalog.blob(blob))?.kept, true)
  })

  test('the longest unverified are checked first', async (t) => {
    const { catalog } = await open(t)
    await catalog.sealed(other, fileOf(2), 30)
    await catalog.sealed(blob, fileOf(1), 20)
    assert.deepEqual(await catalog.unverified(31, 10), [blob, other])
    assert.deepEqual(await catalog.unverified(30, 10), [blob])
    await catalog.verified(blob, fileOf(1), 40)
    assert.deepEqual(await catalog.unverified(100, 1), [other])
  })
}
