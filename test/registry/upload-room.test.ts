/**
 * Pushes onto a disk that the cache has filled. Thought of: a length that is told, one that is not; more than is left of the
 * disk with all of the cache gone; a disk that says that it is full although the figures do not; what was pushed before;
 * minFree, which bounds the cache alone.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { pull, pullSome, stored, type TestBlob, unit } from '../content/small-cache.ts'
import { testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { pieces, start } from './local-fixture.ts'

/** A disk of 20 units, of which the cache has filled 12. */
async function filled(t: TestContext, options: { minFree?: number } = {}) {
  t.mock.timers.enable({ apis: ['Date'] })
  const store = new MemoryBlobStore({ room: 20 * unit })
  const limits = { maxBytes: 100 * unit, minFreeBytes: options.minFree ?? 0, keepAtLeastMs: 0, intervalMs: 5 }
  const parts = start(store, new MemoryCatalog(), { limits })
  t.after(() => parts.blobs[Symbol.asyncDispose]())
  const cached: TestBlob[] = await pullSome(t, parts.blobs, 12)
  return { ...parts, cached }
}

async function push(
  { repository }: Awaited<ReturnType<typeof filled>>,
  size: number,
  length?: number,
): Promise<void> {
  const bytes = testBytes(size, 700)
  const { id } = await repository.begin()
  await repository.append(id, pieces(bytes), { length })
  await repository.finish(id, digestOf(bytes), pieces(new Uint8Array()), {})
}

for (const [what, length] of [
  ['that tells its length', 15 * unit],
  ['that does not tell its length', undefined],
] as const) {
  test(`a push ${what} has the cache make room, and no more than it needs`, async (t) => {
    const parts = await filled(t)
    await push(parts, 15 * unit, length)
    const left = (await stored(parts.store, parts.cached)).length
    assert.ok(left >= 3 && left <= 5, `${left}`)
    assert.equal((await parts.catalog.usage()).kept.bytes, 15 * unit)
  })
}

test('what is larger than the disk is refused before it comes, and nothing goes for it', async (t) => {
  const parts = await filled(t)
  const { id } = await parts.repository.begin()
  const refused = parts.repository.append(id, pieces(testBytes(10, 1)), { length: 21 * unit })
  await assert.rejects(refused, (error) => error instanceof StorageError && error.code === 'FULL')
  assert.equal((await stored(parts.store, parts.cached)).length, 12)
})

test('pushes alone fill the disk: the next one is refused, and pulls go on', async (t) => {
  const parts = await filled(t)
  await push(parts, 19 * unit)
  assert.equal((await stored(parts.store, parts.cached)).length, 0)
  await assert.rejects(
    push(parts, 2 * unit),
    (error) => error instanceof StorageError && error.code === 'FULL',
  )
  const [first] = parts.cached
  assert.ok(first)
  assert.equal(await pull(parts.blobs, first), 'miss')
  assert.equal((await parts.catalog.usage()).kept.bytes, 19 * unit)
})

test('a push may have what the cache has to leave free, and the cache gives it back', async (t) => {
  const parts = await filled(t, { minFree: 6 * unit })
  await push(parts, 7 * unit)
  await until(async () => (await parts.store.room()).bytes >= 6 * unit)
  assert.ok((await stored(parts.store, parts.cached)).length > 0)
})

test('the disk says that it is full all the same: the write is tried once more when something has gone', async (t) => {
  const parts = await filled(t)
  const open = parts.store.writers.open
  let failures = 1
  t.mock.getter(parts.store, 'writers', () => ({
    ...MemoryBlobStore.prototype,
    list: async () => [],
    remove: async () => {},
    open: async (options: Parameters<typeof open>[0]) => {
      const writer = await open(options)
      const append = writer.append.bind(writer)
      writer.append = async (piece) => {
        failures -= 1
        if (failures >= 0) throw new StorageError('FULL', 'a quota is used up')
        return append(piece)
      }
      return writer
    },
  }))
  await push(parts, unit)
  assert.equal((await parts.catalog.usage()).kept.bytes, unit)
  assert.ok(!(await stored(parts.store, parts.cached)).includes(0))
})
