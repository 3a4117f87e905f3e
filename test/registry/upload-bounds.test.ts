/**
 * What unfinished uploads may have, and for how long. Thought of: one that is larger than all may be; several that are it
 * together; one that pauses for a moment, one that nobody came back for; what earlier processes left, with a row and
 * without; one that goes on for longer than its time; a catalog that fails while it is asked whose a file is.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { until } from '../support/settle.ts'
import { content, contentOf, digest, fails, HandClock, pieces, pushBlob, start } from './local-fixture.ts'

const space = 150_000

function startWith(
  bounds: Parameters<typeof start>[2],
  store = new MemoryBlobStore(),
  catalog = new MemoryCatalog(),
) {
  return start(store, catalog, bounds)
}

/** An upload that has `bytes`, and whose client does nothing. */
async function begun(
  { repository }: ReturnType<typeof start>,
  bytes = content,
  options: { readonly client?: string; readonly user?: string } = {},
): Promise<string> {
  const { id } = await repository.begin(options)
  await repository.append(id, pieces(bytes), options)
  return id
}

test('a blob that is larger than all may be is refused (413), and one that is as large is taken', async () => {
  const parts = startWith({ space: content.length - 1 })
  const { id } = await parts.repository.begin()
  await assert.rejects(parts.repository.append(id, pieces(content), {}), fails('SIZE_INVALID', 413))
  await pushBlob(startWith({ space: content.length }), content)
})

test('what others have is not there for one more (429); it goes on when one of them has ended', async () => {
  const parts = startWith({ space })
  const first = await begun(parts)
  const { id: second } = await parts.repository.begin()
  await parts.repository.append(second, pieces(content.subarray(0, 50_000)), {})
  const refused = parts.repository.append(second, pieces(content.slice(50_000)), { start: 50_000 })
  await assert.rejects(refused, fails('TOOMANYREQUESTS', 429))
  const { offset } = await parts.repository.upload(second)
  assert.equal(offset, 50_000, 'what was acknowledged stays')
  await parts.repository.finish(first, digest, pieces(new Uint8Array()), {})
  await parts.repository.finish(second, digest, pieces(content.slice(offset)), { start: offset })
  assert.equal(await contentOf(parts), digest)
})

test('one that nobody came back for makes room, the longest idle first, and none that is at work', async () => {
  const clock = new HandClock()
  const parts = startWith({ space: 2.5 * content.length, idleMs: 60_000, clock })
  const old = await begun(parts, content, { client: 'one' })
  clock.pass(30_000)
  const paused = await begun(parts, content, { client: 'two' })
  clock.pass(29_000)
  await assert.rejects(begun(parts, content, { client: 'three' }), fails('TOOMANYREQUESTS', 429))
  clock.pass(2000)
  const third = await begun(parts, content, { client: 'three' })
  await assert.rejects(parts.repository.upload(old), fails('BLOB_UPLOAD_UNKNOWN', 404))
  for (const id of [paused, third]) assert.equal((await parts.repository.upload(id)).offset, content.length)
  assert.equal((await parts.store.writers.list()).length, 2)
})

test('one at work is not taken away, however long it takes, and one that is not is purged at its age', async () => {
  const clock = new HandClock()
  const parts = startWith({ ttlMs: 1000, clock })
  const forgotten = await begun(parts)
  const { id } = await parts.repository.begin()
  const more = Promise.withResolvers<void>()
  const body = async function* () {
    yield content.subarray(0, 10)
    await more.promise
    yield content.subarray(10)
  }
  const appending = parts.repository.append(id, body(), {})
  await until(async () => (await parts.store.writers.list()).some(({ size }) => size === 10))
  clock.pass(999)
  await parts.uploads.sweep()
  assert.equal((await parts.repository.upload(forgotten)).offset, content.length)
  clock.pass(4000)
  await parts.uploads.sweep()
  await assert.rejects(parts.repository.upload(forgotten), fails('BLOB_UPLOAD_UNKNOWN', 404))
  more.resolve()
  await appending
  await parts.uploads.sweep()
  await parts.repository.finish(id, digest, pieces(new Uint8Array()), {})
  assert.equal(await contentOf(parts), digest)
  assert.deepEqual(await parts.catalog.staleUploads(Number.MAX_SAFE_INTEGER, 10), [])
})

test('what earlier processes left counts, is gone on with, and goes where nobody can find it', async () => {
  const before = start()
  const id = await begun(before)
  const orphan = await before.store.writers.open({ id: 'upload-orphan', algorithm: 'sha256' })
  await orphan.append([content])
  const catalog = before.catalog as MemoryCatalog
  const parts = startWith({ space }, before.store.afterCrash({ kind: 'killed', keeps: () => true }), catalog)
  parts.uploads.start()
  await until(async () => (await parts.store.writers.list()).length === 1)
  await assert.rejects(begun(parts), fails('TOOMANYREQUESTS', 429))
  assert.equal((await parts.repository.upload(id)).offset, content.length)
  await parts.repository.finish(id, digest, pieces(new Uint8Array()), {})
  assert.equal(await contentOf(parts), digest)
  await parts.uploads[Symbol.asyncDispose]()
})

test('a file of which the catalog cannot tell whose it is stays', async () => {
  const before = start()
  const id = await begun(before)
  const store = before.store.afterCrash({ kind: 'killed', keeps: () => true })
  const failing = Object.assign(Object.create(before.catalog), {
    upload: async () => {
      throw new StorageError('BROKEN', 'the disk failed')
    },
  })
  const parts = start(store, failing)
  parts.uploads.start()
  await until(() => parts.lines.some((line) => line.includes('could not be looked through')))
  assert.equal((await store.writers.list()).length, 1)
  await parts.uploads[Symbol.asyncDispose]()
  assert.equal((await start(store, before.catalog).repository.upload(id)).offset, content.length)
})
