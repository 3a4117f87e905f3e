/**
 * Uploads while the mirror stops. Thought of: one whose client says nothing, one that waits for a descriptor, one without a
 * byte, one that was put aside; a sweep under way, and a catalog that fails.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { until } from '../support/settle.ts'
import { content, contentOf, digest, fails, HandClock, pieces, start } from './local-fixture.ts'

test('a stop ends who waits for a client, and who waits for a descriptor; nothing is begun after it', async () => {
  let isEnded = false
  const never: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => {
      const first = pieces(content.slice(0, 60_000), 60_000)
      let count = 0
      return {
        next: () => (++count > 1 ? new Promise(() => {}) : first.next()),
        return: async () => {
          isEnded = true
          return first.return(undefined)
        },
      }
    },
  }
  let isBusy = false
  const store = new MemoryBlobStore()
  const { writers } = store
  Object.defineProperty(store, 'writers', {
    value: {
      ...writers,
      open: async (...asked: Parameters<typeof writers.open>) => {
        if (isBusy) throw new StorageError('BUSY', 'no descriptor')
        return writers.open(...asked)
      },
    },
  })
  const parts = start(store)
  const [waiting, late] = [await parts.repository.begin(), await parts.repository.begin()]
  const first = parts.repository.append(waiting.id, never, {})
  await until(async () => (await writers.list()).find(({ id }) => id === waiting.id)?.size === 60_000)
  isBusy = true
  const second = parts.repository.append(late.id, pieces(content), {})
  const ended = Promise.allSettled([first, second])
  await parts.uploads[Symbol.asyncDispose]()
  for (const { status } of await ended) assert.equal(status, 'rejected')
  assert.ok(isEnded, 'whoever sends it is told')
  await assert.rejects(parts.repository.begin(), fails('UNAVAILABLE', 503))
  await assert.rejects(parts.repository.append(waiting.id, pieces(content), {}), fails('UNAVAILABLE', 503))
  await parts.blobs[Symbol.asyncDispose]()
  await store[Symbol.asyncDispose]()
})

test('once the mirror stops, an upload that was put aside is not taken up again', async () => {
  const parts = start()
  const { id } = await parts.repository.begin()
  await parts.repository.append(id, pieces(content.subarray(0, 10)), {})
  await parts.uploads[Symbol.asyncDispose]()
  await assert.rejects(parts.repository.upload(id), fails('UNAVAILABLE', 503))
  await assert.rejects(parts.repository.append(id, pieces(content), {}), fails('UNAVAILABLE', 503))
  assert.equal((await start(parts.store, parts.catalog).repository.upload(id)).offset, 10)
})

test('a catalog that fails while old uploads are removed: that is told, and a stop waits for its end', async () => {
  const asked = Promise.withResolvers<void>()
  const answer = Promise.withResolvers<void>()
  const catalog = new MemoryCatalog()
  const parts = start(new MemoryBlobStore(), catalog)
  await parts.repository.begin()
  const clock = new HandClock()
  const failing = start(
    parts.store,
    Object.assign(Object.create(catalog), {
      endUpload: async () => {
        asked.resolve()
        await answer.promise
        throw new StorageError('BROKEN', 'the disk failed')
      },
    }),
    { clock },
  )
  clock.pass(10 * 60_000)
  failing.uploads.start()
  await asked.promise
  let isStopped = false
  const stopping = failing.uploads[Symbol.asyncDispose]().then(() => {
    isStopped = true
  })
  await new Promise(setImmediate)
  assert.equal(isStopped, false)
  answer.resolve()
  await stopping
  await assert.rejects(failing.uploads.sweep(), /the disk failed/)
})

test('a stop in the middle puts aside what was uploaded, for the next process', async () => {
  const before = start()
  const { id } = await before.repository.begin()
  await before.repository.append(id, pieces(content.subarray(0, 60_000)), {})
  await before.repository.begin()
  await before.uploads[Symbol.asyncDispose]()
  assert.deepEqual(before.lines, [])
  const after = start(before.store, before.catalog)
  assert.equal((await after.repository.upload(id)).offset, 60_000)
  await after.repository.finish(id, digest, pieces(content.slice(60_000)), {})
  assert.equal(await contentOf(after), digest)
})
