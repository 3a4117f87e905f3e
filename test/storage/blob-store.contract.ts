import assert from 'node:assert/strict'
import { after, suite, type TestContext, test } from 'node:test'
import { type Digest, digestAlgorithm, digestOf } from '../../src/oci/digest.ts'
import type { BlobStore } from '../../src/storage/blob-store.ts'
import { assertReleased, lent } from '../support/lent.ts'
import { blobWriterContract } from './blob-writer.contract.ts'
import { assertSameBytes, readAll, testBytes } from './files/storage-folder.ts'
import { partialContract } from './partial.contract.ts'
import { partialDetachContract } from './partial-detach.contract.ts'
import { partialResumeContract } from './partial-resume.contract.ts'
import { partialSealContract } from './partial-seal.contract.ts'
import { partialViewContract } from './partial-view.contract.ts'
import { quarantineContract } from './quarantine.contract.ts'

/** A store under test, empty at first. `t.after` closes what is open at the end. */
export interface OpenedStore {
  readonly store: BlobStore
  /** Closes the store and opens what it left, as a later process does. */
  readonly reopen: () => Promise<BlobStore>
}

export type OpenStore = (t: TestContext) => Promise<OpenedStore>

/** Puts a blob into the store by way of a partial. */
export async function storeBlob(store: BlobStore, bytes: Uint8Array, digest = digestOf(bytes), id = 'store') {
  const algorithm = digestAlgorithm(digest)
  await using partial = await store.partials.open({ id, algorithm })
  await partial.write(0, lent(bytes))
  await partial.seal(digest)
  return digest
}

/** The bytes of a stored blob; undefined where it is not stored. */
export async function storedBytes(store: BlobStore, digest: Digest): Promise<Buffer | undefined> {
  await using reader = await store.open(digest)
  if (!reader) return undefined
  assert.equal(reader.isVerified, true)
  await reader.verified()
  assert.equal(await sizeOf(store, digest), reader.size)
  return await readAll(reader)
}

export async function sizeOf(store: BlobStore, digest: Digest): Promise<number | undefined> {
  return (await store.stat(digest))?.size
}

/** What every implementation of `BlobStore` and its `Partial` keeps to. */
export function blobStoreContract(name: string, open: OpenStore): void {
  suite(`${name}: stored blobs`, () => storedBlobContract(open))
  suite(`${name}: damage`, () => quarantineContract(open))
  suite(`${name}: partials`, () => {
    after(assertReleased)
    partialContract(async (t) => (await open(t)).store.partials.open({ id: 'one', algorithm: 'sha256' }))
  })
  suite(`${name}: writers`, () => blobWriterContract(open))
  suite(`${name}: sealing`, () => {
    after(assertReleased)
    partialSealContract(open)
  })
  suite(`${name}: views of a partial`, () => {
    after(assertReleased)
    partialViewContract(open)
  })
  suite(`${name}: partials that a disk takes no more of`, () => {
    after(assertReleased)
    partialDetachContract(open)
  })
  suite(`${name}: partials that end and go on`, () => {
    after(assertReleased)
    partialResumeContract(open)
  })
}

function storedBlobContract(open: OpenStore): void {
  const content = testBytes(3_000_000)

  test('what is not stored is undefined, and its removal is no error', async (t) => {
    const { store } = await open(t)
    assert.equal(await sizeOf(store, digestOf(content)), undefined)
    assert.equal(await store.open(digestOf(content)), undefined)
    assert.equal(await store.delete(digestOf(content)), 0)
    assert.deepEqual(await store.list({ limit: 10 }), [])
  })

  test('what is stored is listed in order, page by page, and each once', async (t) => {
    const { store, reopen } = await open(t)
    const digests: Digest[] = []
    for (let n = 0; n < 40; n += 1) {
      const bytes = Buffer.from(`blob ${n}`)
      digests.push(await storeBlob(store, bytes, digestOf(bytes, n % 4 === 0 ? 'sha512' : 'sha256')))
    }
    digests.sort()
    for (const again of [async () => store, reopen]) {
      const each = await again()
      for (const limit of [1, 7, 40, 41]) {
        const listed: Digest[] = []
        for (let after: Digest | undefined; ; after = listed.at(-1)) {
          const page = await each.list({ after, limit })
          if (page.length === 0) break
          assert.ok(page.length <= limit)
          listed.push(...page)
        }
        assert.deepEqual(listed, digests, `pages of ${limit}`)
      }
    }
  })

  for (const algorithm of ['sha256', 'sha512'] as const) {
    test(`a sealed blob is there, also for a later process (${algorithm})`, async (t) => {
      const { store, reopen } = await open(t)
      const digest = await storeBlob(store, content, digestOf(content, algorithm))
      assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
      const later = await reopen()
      assertSameBytes((await storedBytes(later, digest)) ?? Buffer.alloc(0), content)
    })
  }

  test('a blob of zero bytes', async (t) => {
    const { store, reopen } = await open(t)
    const digest = await storeBlob(store, new Uint8Array(0))
    assert.equal(await sizeOf(store, digest), 0)
    assert.deepEqual(await storedBytes(await reopen(), digest), Buffer.alloc(0))
  })

  test('a stored blob is read from any position, in any piece, by several at once', async (t) => {
    const { store } = await open(t)
    const digest = await storeBlob(store, content)
    const read = async (start: number, pieceSize: number) => {
      await using reader = await store.open(digest)
      assert.ok(reader)
      assertSameBytes(await readAll(reader, start, pieceSize), content.subarray(start))
    }
    await Promise.all([
      read(0, 1 << 20),
      read(0, 65_536),
      read(1, 100_003),
      read(2_999_000, 7),
      read(3e6, 10),
      read(4e6, 10),
    ])
  })

  test('a read of a stored blob with an aborted signal rejects with its reason', async (t) => {
    const { store } = await open(t)
    await using reader = await store.open(await storeBlob(store, content))
    assert.ok(reader)
    const reason = new Error('left')
    const signal = AbortSignal.abort(reason)
    await assert.rejects(reader.read(Buffer.alloc(1), 0, { signal }), (error) => error === reason)
    assert.equal(await reader.read(Buffer.alloc(1), 0), 1, 'only that one read')
  })

  test('a removed blob is gone, and an open reader keeps its bytes', async (t) => {
    const { store, reopen } = await open(t)
    const digest = await storeBlob(store, content)
    const other = await storeBlob(store, Buffer.from('other'))
    await using reader = await store.open(digest)
    assert.equal(await store.delete(digest), content.length, 'so much is free now')
    assert.equal(await store.delete(digest), 0)
    assert.equal(await store.open(digest), undefined)
    assert.equal(await sizeOf(store, digest), undefined)
    assert.ok(reader)
    assertSameBytes(await readAll(reader), content)
    const later = await reopen()
    assert.equal(await sizeOf(later, digest), undefined)
    assert.equal(await sizeOf(later, other), 5)
    await storeBlob(later, content)
    assert.equal(await sizeOf(later, digest), content.length)
  })

  test('the same blob from two partials at once is stored, and its readers do not notice', async (t) => {
    const { store } = await open(t)
    const digest = await storeBlob(store, content, undefined, 'first')
    await using reader = await store.open(digest)
    await Promise.all(['second', 'third'].map((id) => storeBlob(store, content, digest, id)))
    assert.ok(reader)
    assertSameBytes(await readAll(reader), content)
    assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
  })

  test('a probe of a store that works resolves, many at once too', async (t) => {
    const { store } = await open(t)
    const probeAfter = async (turns: number) => {
      for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate)
      await store.probe()
    }
    await Promise.all(Array.from({ length: 200 }, (_, index) => probeAfter(index % 20)))
  })

  test('closing the store while a partial is open rejects', async (t) => {
    const { store } = await open(t)
    const partial = await store.partials.open({ id: 'open', algorithm: 'sha256' })
    await assert.rejects(async () => store[Symbol.asyncDispose](), /partial/)
    await partial.discard(new Error('the end'))
    await store[Symbol.asyncDispose]()
  })

  for (const id of ['', '../x', 'a/b', 'A', 'a.journal', 'a b', 'a\n']) {
    test(`${JSON.stringify(id)} is no name for a partial`, async (t) => {
      const { partials } = (await open(t)).store
      await assert.rejects(partials.open({ id, algorithm: 'sha256' }), TypeError)
      await assert.rejects(partials.find(id), TypeError)
      await assert.rejects(partials.remove(id), TypeError)
    })
  }
}
