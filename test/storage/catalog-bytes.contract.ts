import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { type CachedBlob, nothingStored, type Usage } from '../../src/storage/stored-bytes.ts'
import { alpine, anyone, app, other as app2, blobOf, fileOf, type OpenCatalog } from './catalog-fixtures.ts'

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
    assert.deepEqual(await catalog.usage(), totals([1, 3], [1, 40]))
  })

  test('how much is here is counted as it comes, changes and goes, and again by a later process', async (t) => {
    const { catalog, reopen } = await open(t)
    const steps: [string, () => Promise<unknown>, Usage][] = [
      ['fetched', () => catalog.sealed(blob, fileOf(3), 10), totals([1, 3], [0, 0])],
      ['found', () => catalog.adopt(other, fileOf(5), 10), totals([2, 8], [0, 0])],
      ['of another size', () => catalog.verified(other, fileOf(6), 20), totals([2, 9], [0, 0])],
      ['pushed', () => catalog.pushed(app, other, fileOf(6), 20), totals([1, 3], [1, 6])],
      [
        'given away',
        () => catalog.mount(app2, other, app, { at: 30, refusedAfter: 0 }),
        totals([1, 3], [1, 6]),
      ],
      ['free besides', () => catalog.confirmed(alpine, other, anyone(5)), totals([1, 3], [1, 6])],
      ['deleted once', () => catalog.deleteBlob(app, other), totals([1, 3], [1, 6])],
      ['deleted twice', () => catalog.deleteBlob(app2, other), totals([2, 9], [0, 0])],
      ['evicted', () => catalog.evict(other, 100), totals([1, 3], [0, 0])],
      ['pushed again', () => catalog.pushed(app, third, fileOf(40), 20), totals([1, 3], [1, 40])],
      ['let go', () => catalog.letGo(app, third, 100, 10), totals([1, 3], [0, 0])],
      ['nothing new', () => catalog.used([blob], 50), totals([1, 3], [0, 0])],
    ]
    for (const [what, step, expected] of steps) {
      await step()
      assert.deepEqual(await catalog.usage(), expected, what)
    }
    const later = await reopen()
    assert.deepEqual(await later.usage(), totals([1, 3], [0, 0]))
    await later.gone(blob)
    assert.deepEqual(await later.usage(), nothingStored)
  })

  test('what was refused was not counted', async (t) => {
    const { catalog } = await open(t)
    await catalog.sealed(blob, fileOf(3), 10)
    await assert.rejects(catalog.sealed(other, fileOf(1.5), 10), TypeError)
    await assert.rejects(catalog.pushed(app, blob, fileOf(1.5), 10), TypeError)
    assert.deepEqual(await catalog.usage(), totals([1, 3], [0, 0]))
  })

  test('sizes beyond what can be counted exactly are no error', async (t) => {
    const { catalog } = await open(t)
    for (const one of [blob, other]) {
      await catalog.sealed(one, { size: Number.MAX_SAFE_INTEGER, mtime: 1, inode: 1 }, 10)
    }
    assert.deepEqual(await catalog.usage(), totals([2, 2 * Number.MAX_SAFE_INTEGER], [0, 0]))
  })

  test('all that is here, by digest, a page at a time', async (t) => {
    const { catalog } = await open(t)
    const sha512 = digestOf(Buffer.from('long'), 'sha512')
    await catalog.sealed(blob, fileOf(3), 10)
    await catalog.pushed(app, other, fileOf(4), 20)
    await catalog.adopt(sha512, fileOf(5), 30)
    const [first = blob, second = other] = [blob, other].toSorted()
    const rows = await catalog.blobs({ limit: 2 })
    assert.deepEqual(
      rows.map(({ digest }) => digest),
      [first, second],
    )
    for (const { digest, ...row } of rows) assert.deepEqual(row, await catalog.blob(digest))
    const last = await catalog.blobs({ after: second, limit: 2 })
    const found = { ...fileOf(5), usedAt: 30, verifiedAt: 0, kept: false }
    assert.deepEqual(last, [{ digest: sha512, ...found }])
  })

  test('a file that was found is recorded as used when it was written to, and never verified', async (t) => {
    const { catalog } = await open(t)
    const file = { size: 3, mtime: 40, inode: 7 }
    assert.equal(await catalog.adopt(blob, file, 50), true)
    assert.deepEqual(await catalog.blob(blob), { ...file, usedAt: 40, verifiedAt: 0, kept: false })
    assert.deepEqual(await catalog.unverified(1, 10), [blob])
    assert.equal(await catalog.adopt(other, { ...file, mtime: 900 }, 50), true, 'by a clock that was ahead')
    assert.equal((await catalog.blob(other))?.usedAt, 50)
  })

  test('a file that was found is kept where it was pushed', async (t) => {
    const { catalog } = await open(t)
    await catalog.pushed(app, blob, fileOf(3), 10)
    await catalog.gone(blob)
    assert.equal(await catalog.adopt(blob, fileOf(3), 50), true)
    assert.equal((await catalog.blob(blob))?.kept, true)
  })

  test('a file that is known, or may go, is not found', async (t) => {
    const { catalog } = await open(t)
    await catalog.sealed(blob, fileOf(3), 10)
    assert.equal(await catalog.adopt(blob, fileOf(4), 50), false)
    assert.equal((await catalog.blob(blob))?.size, 3)
    await catalog.evict(blob, 20)
    assert.equal(await catalog.adopt(blob, fileOf(4), 50), false)
    assert.equal(await catalog.blob(blob), undefined)
    await catalog.removed([blob])
    assert.equal(await catalog.adopt(blob, fileOf(4), 50), true)
  })

  test('the least recently used go first, and nothing that is kept', async (t) => {
    const { catalog } = await open(t)
    await catalog.sealed(other, fileOf(2), 30)
    await catalog.sealed(blob, fileOf(1), 20)
    await catalog.pushed(app, third, fileOf(3), 10)
    const fetchedAt = fileOf(1).mtime
    const [first, second] = [
      { digest: blob, size: 1, usedAt: 20, fetchedAt },
      { digest: other, size: 2, usedAt: 30, fetchedAt },
    ]
    assert.deepEqual(await catalog.leastRecent({ before: 31, limit: 10 }), [first, second])
    assert.deepEqual(await catalog.leastRecent({ limit: 10 }), [first, second])
    assert.deepEqual(await catalog.leastRecent({ before: 30, limit: 10 }), [first])
    assert.deepEqual(await catalog.leastRecent({ before: 31, limit: 1 }), [first])
    await catalog.used([blob], 40)
    assert.deepEqual(await catalog.leastRecent({ limit: 10 }), [second, { ...first, usedAt: 40 }])
  })

  test('pages of those that were used at the same time miss none, and none comes twice', async (t) => {
    const { catalog } = await open(t)
    const all = Array.from({ length: 7 }, (_, n) => blobOf(`${n}`))
    for (const [n, one] of all.entries()) await catalog.sealed(one, fileOf(n), n < 5 ? 20 : 30)
    const seen: CachedBlob[] = []
    for (let page = [] as CachedBlob[]; ; seen.push(...page)) {
      page = await catalog.leastRecent({ before: 31, after: seen.at(-1), limit: 2 })
      if (page.length === 0) break
    }
    const inOrder = [...all.slice(0, 5).toSorted(), ...all.slice(5).toSorted()]
    assert.deepEqual(
      seen.map(({ digest }) => digest),
      inOrder,
    )
    const [last] = await catalog.leastRecent({ before: 30, after: seen[3], limit: 9 })
    assert.deepEqual(last, seen[4])
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

/** Blobs and bytes: of what may be evicted, and of what is kept. */
function totals([blobs, bytes]: [number, number], [keptBlobs, keptBytes]: [number, number]): Usage {
  return { cached: { blobs, bytes }, kept: { blobs: keptBlobs, bytes: keptBytes } }
}
