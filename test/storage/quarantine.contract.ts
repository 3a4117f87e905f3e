import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { type OpenStore, storeBlob, storedBytes } from './blob-store.contract.ts'
import { assertSameBytes, readAll, testBytes } from './files/storage-folder.ts'

const content = testBytes(2_500_000)
const digest = digestOf(content)
const nothing = { bytes: 0, blobs: 0 }
const one = { bytes: content.length, blobs: 1 }

/** What every implementation of `Quarantine`, and `BlobStore.check`, keeps to. */
export function quarantineContract(open: OpenStore): void {
  test('the bytes of a blob are those of its digest, by each algorithm, and of any size', async (t) => {
    const { store } = await open(t)
    for (const size of [0, 1, 4095, 1 << 20, (1 << 20) + 1, 2_500_000]) {
      for (const algorithm of ['sha256', 'sha512'] as const) {
        const bytes = testBytes(size, size + 1)
        const stored = await storeBlob(store, bytes, digestOf(bytes, algorithm))
        assert.deepEqual(await store.check(stored), { file: await store.stat(stored), actual: stored })
      }
    }
  })

  test('what is not stored has no bytes to be checked, and is not put into quarantine', async (t) => {
    const { store } = await open(t)
    assert.equal(await store.check(digest), undefined)
    assert.equal(await store.quarantine.put(digest), 0)
    assert.equal(await store.quarantine.remove(digest), 0)
    assert.deepEqual(store.quarantine.list(), [])
    assert.deepEqual(store.quarantine.total, nothing)
  })

  test('a check ends with its signal', async (t) => {
    const { store } = await open(t)
    await storeBlob(store, content)
    const reason = new Error('enough')
    await assert.rejects(store.check(digest, { signal: AbortSignal.abort(reason) }), reason)
    assert.equal((await store.check(digest))?.actual, digest)
  })

  test('what is quarantined is not stored any more, and counts apart; who reads it reads on', async (t) => {
    const { store } = await open(t)
    await storeBlob(store, content)
    await using reader = await store.open(digest)
    assert.ok(reader)
    const before = Date.now()
    assert.equal(await store.quarantine.put(digest), content.length)
    assert.equal(await store.stat(digest), undefined)
    assert.equal(await store.open(digest), undefined)
    assert.deepEqual(await store.list({ limit: 10 }), [])
    assert.deepEqual(store.stored, nothing)
    assert.deepEqual(store.quarantine.total, one)
    const [blob] = store.quarantine.list()
    assert.deepEqual({ digest: blob?.digest, size: blob?.size }, { digest, size: content.length })
    assert.ok((blob?.at ?? 0) >= before)
    assertSameBytes(await readAll(reader), content)
  })

  test('an empty file is quarantined too', async (t) => {
    const { store } = await open(t)
    const empty = await storeBlob(store, new Uint8Array())
    assert.equal(await store.quarantine.put(empty), 0)
    assert.equal(await store.stat(empty), undefined)
    assert.deepEqual(store.quarantine.total, { bytes: 0, blobs: 1 })
  })

  for (const [what, end] of [
    ['is stored again', (store) => storeBlob(store, content)],
    ['is removed', (store) => store.delete(digest)],
  ] as const satisfies [string, (store: Awaited<ReturnType<OpenStore>>['store']) => Promise<unknown>][]) {
    test(`it goes once its blob ${what}`, async (t) => {
      const { store } = await open(t)
      await storeBlob(store, content)
      await store.quarantine.put(digest)
      const result = await end(store)
      assert.deepEqual(store.quarantine.total, nothing)
      if (what === 'is removed') assert.equal(result, content.length, 'its bytes are free')
      else assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
    })
  }

  test('it goes by itself, once; what is put there twice is there once', async (t) => {
    const { store } = await open(t)
    for (let times = 0; times < 2; times += 1) {
      await storeBlob(store, content)
      await store.quarantine.put(digest)
    }
    assert.deepEqual(store.quarantine.total, one)
    assert.equal(await store.quarantine.remove(digest), content.length)
    assert.equal(await store.quarantine.remove(digest), 0)
    assert.deepEqual(store.quarantine.total, nothing)
  })

  test('the oldest are listed first', async (t) => {
    const { store } = await open(t)
    const digests = []
    for (const seed of [3, 1, 2]) digests.push(await storeBlob(store, testBytes(100, seed)))
    for (const each of digests) await store.quarantine.put(each)
    assert.deepEqual(
      store.quarantine.list().map((blob) => blob.digest),
      digests,
    )
  })
}
