/**
 * What the sizes of mirror.yml are in bytes. Thought of: sizes, shares, `auto`; the first start, later ones, an upgrade with
 * much in the cache, a catalog that is gone or cannot be written; disks from tiny to huge, and full ones.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import { cacheLimits } from '../../src/app/cache-limits.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'

const gb = 1e9
const auto = { maxSize: 'auto', minFree: 'auto', keepAtLeast: 1000 } as const

function parts({ free, size = 500 * gb }: { free: number; size?: number }) {
  const lines: string[] = []
  const logger = pino({}, { write: (line: string) => void lines.push(JSON.parse(line).msg) })
  const disk = { free, size }
  return {
    catalog: new MemoryCatalog(),
    store: new MemoryBlobStore(),
    disk: async () => disk,
    logger,
    lines,
    now: disk,
  }
}

async function cache(catalog: MemoryCatalog, bytes: number): Promise<void> {
  await catalog.sealed(digestOf(Buffer.from(`${bytes}`)), { size: bytes, mtime: 1, inode: 1 }, 1)
}

test('what is written is taken as it is, shares of the disk', async () => {
  const given = parts({ free: 100 * gb })
  const limits = await cacheLimits({ maxSize: 7 * gb, minFree: 3 * gb, keepAtLeast: 5 }, given)
  assert.deepEqual(limits, { maxBytes: 7 * gb, minFreeBytes: 3 * gb, keepAtLeastMs: 5 })
  const share = await cacheLimits({ ...auto, maxSize: { percent: 80 } }, given)
  assert.equal(share.maxBytes, 400 * gb)
  assert.equal(await given.catalog.fact('cache-max-size'), undefined)
  assert.deepEqual(given.lines, [])
})

for (const [what, free, size, maxBytes, minFreeBytes] of [
  ['a huge disk', 400 * gb, 500 * gb, 50 * gb, 5 * gb],
  ['a small disk', 20 * gb, 32 * gb, 16 * gb, 3.2 * gb],
  ['a nearly full disk', 10 * gb, 500 * gb, 8 * gb, 5 * gb],
] as const) {
  test(`auto on ${what}`, async () => {
    const limits = await cacheLimits(auto, parts({ free, size }))
    assert.deepEqual(limits, { maxBytes, minFreeBytes, keepAtLeastMs: 1000 })
  })
}

test('auto is found out once, and does not creep with what else is on the disk', async () => {
  const given = parts({ free: 40 * gb })
  assert.equal((await cacheLimits(auto, given)).maxBytes, 32 * gb)
  given.now.free = 10 * gb
  assert.equal((await cacheLimits(auto, given)).maxBytes, 32 * gb)
  given.now.free = 400 * gb
  assert.equal((await cacheLimits(auto, given)).maxBytes, 32 * gb)
})

test('an upgrade takes nothing away: what is cached counts as free, and is the least', async () => {
  const some = parts({ free: 10 * gb })
  await cache(some.catalog, 20 * gb)
  assert.equal((await cacheLimits(auto, some)).maxBytes, 24 * gb)
  const much = parts({ free: 30 * gb })
  await cache(much.catalog, 200 * gb)
  assert.equal((await cacheLimits(auto, much)).maxBytes, 200 * gb)
})

test('beside blobs of which a new catalog knows nothing it is found out at the next start', async () => {
  const given = parts({ free: 1 * gb })
  const writer = await given.store.writers.open({ id: 'upload-1', algorithm: 'sha256' })
  await writer.append([Buffer.from('a')])
  await writer.seal(digestOf(Buffer.from('a')))
  assert.equal(
    (await cacheLimits({ ...auto }, { ...given, disk: async () => ({ free: 1 * gb, size: 40 * gb }) }))
      .maxBytes,
    50 * gb,
  )
  // It may all be ours.
  assert.equal((await cacheLimits(auto, given)).maxBytes, 499 * gb)
  // Of what was pushed pushed.journal has told.
  await cache(given.catalog, 3 * gb)
  assert.equal((await cacheLimits(auto, given)).maxBytes, 499 * gb)
  assert.equal(await given.catalog.fact('cache-max-size'), undefined)
})

test('auto is found out anew on another disk, also after an upgrade that did not know the size of the first', async () => {
  const given = parts({ free: 10 * gb, size: 16 * gb })
  await given.catalog.setFact('cache-max-size', 8 * gb)
  assert.equal((await cacheLimits(auto, given)).maxBytes, 8 * gb)
  given.now.size = 15 * gb
  assert.equal((await cacheLimits(auto, given)).maxBytes, 8 * gb)
  Object.assign(given.now, { free: 900 * gb, size: 1000 * gb })
  assert.equal((await cacheLimits(auto, given)).maxBytes, 50 * gb)
  given.now.free = 10 * gb
  assert.equal((await cacheLimits(auto, given)).maxBytes, 50 * gb)
})

test('a catalog that cannot be written keeps nobody from starting', async (t) => {
  const given = parts({ free: 40 * gb })
  for (const name of ['fact', 'setFact'] as const) {
    t.mock.method(given.catalog, name, () => Promise.reject(new StorageError('FULL', 'no')))
  }
  assert.equal((await cacheLimits(auto, given)).maxBytes, 32 * gb)
})

test('where next to nothing is left for the cache it is told', async () => {
  const full = parts({ free: 5 * gb })
  await cacheLimits(auto, full)
  assert.match(String(full.lines), /next to nothing can be kept/)
  const tiny = parts({ free: 100 * gb })
  await cacheLimits({ ...auto, maxSize: 1_000_000 }, tiny)
  assert.equal(tiny.lines.length, 1)
  // What is cached can be evicted, and is room.
  const used = parts({ free: 5 * gb })
  await cache(used.catalog, 2 * gb)
  await cacheLimits(auto, used)
  assert.deepEqual(used.lines, [])
})
