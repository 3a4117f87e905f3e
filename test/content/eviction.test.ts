/**
 * What is stored stays below its limit, and what was used longest ago goes. Thought of: one blob and many at a time, of
 * known and of unknown size; larger than the limit; claims that nobody keeps; what is read, on its way, pushed, pinned,
 * fetched lately; partials that fills have left; what is damaged; a limit that was lowered; a disk that others fill; files
 * that run short; a catalog that cannot be written; pushes.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Blobs } from '../../src/content/blobs.ts'
import type { BlobLimits } from '../../src/content/eviction.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { MemoryBlobStore, type MemoryBlobStoreOptions } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { readAll, testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { blobsOver, good } from './scripted-source.ts'

const mebibyte = 1024 * 1024
const blobBytes = mebibyte

interface Given {
  readonly limits?: Partial<BlobLimits>
  readonly store?: MemoryBlobStoreOptions
}

/** A cache of ten blobs, of which one is kept free. */
function cache(t: TestContext, { limits, store: options }: Given = {}) {
  const store = new MemoryBlobStore(options)
  const records = new MemoryCatalog()
  const blobs = blobsOver(t, store, {
    records,
    patienceMs: 2000,
    limits: { maxBytes: 10 * blobBytes, minFreeBytes: 0, keepAtLeastMs: 0, intervalMs: 5, ...limits },
  })
  return { store, records, blobs }
}

function contentOf(seed: number, size = blobBytes): { bytes: Buffer; digest: Digest } {
  const bytes = testBytes(size, seed)
  return { bytes, digest: digestOf(bytes) }
}

async function pull(blobs: Blobs, { bytes, digest }: ReturnType<typeof contentOf>): Promise<string> {
  const { reader, status } = await blobs.open(digest, good('x/x', bytes), { size: bytes.length })
  await using opened = reader
  assert.deepEqual(await readAll(opened), bytes)
  await opened.verified()
  return status
}

/** Fills go on after their last reader. */
async function settled(blobs: Blobs): Promise<void> {
  await until(() => blobs.fillCount === 0)
  await blobs.evictor?.run()
}

test('what was used longest ago goes, down to the low-water mark', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { store, blobs } = cache(t)
  const all = Array.from({ length: 30 }, (_, index) => contentOf(index))
  for (const one of all) {
    t.mock.timers.tick(1000)
    await pull(blobs, one)
    await until(() => blobs.fillCount === 0)
    assert.ok(store.stored.bytes <= 10 * blobBytes, `${store.stored.bytes}`)
  }
  await settled(blobs)
  assert.deepEqual(
    await store.list({ limit: 100 }),
    all
      .slice(-9)
      .map(({ digest }) => digest)
      .toSorted(),
  )
  assert.equal(blobs.evictor?.evicted.blobs, 21)
})

test('fills at a time stay below the limit together, with all that they have begun', async (t) => {
  const { store, blobs } = cache(t)
  let most = 0
  const watched = (bytes: Buffer) =>
    good('x/x', bytes, async () => {
      // At the same moment: what is sealed in between would count twice.
      const [listing, stored] = [store.partials.list(), store.stored.bytes]
      const present = (await listing).reduce((sum, partial) => sum + partial.bytes, 0)
      most = Math.max(most, stored + present)
    })
  const pulling = Array.from({ length: 40 }, async (_, index) => {
    const { bytes, digest } = contentOf(index % 24, (1 + (index % 3)) * blobBytes)
    const { reader } = await blobs.open(digest, watched(bytes), {
      size: index % 2 ? bytes.length : undefined,
    })
    await using opened = reader
    assert.equal(digestOf(await readAll(opened)), digest)
  })
  await Promise.all(pulling)
  await settled(blobs)
  assert.ok(most > 5 * blobBytes, `${most}`)
  assert.ok(most <= 10 * blobBytes, `${most}`)
})
