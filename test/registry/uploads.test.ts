/**
 * Uploads over stores in memory. Thought of: a kill in the middle; a disk that is full and then is not; a client that is
 * about to leave while its next request is here, in the middle and at the end; a wrong digest; uploads that pause, that
 * are forgotten, and that go on meanwhile; a stop.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { content, contentOf, day, digest, fails, pieces, pushBlob, start } from './local-fixture.ts'

test('an upload that a kill interrupted goes on with what the disk has', async () => {
  const before = start()
  const { id } = await before.repository.begin()
  await before.repository.append(id, pieces(content.subarray(0, 60_000)), {})
  const after = start(before.store.afterCrash({ kind: 'killed', keeps: () => true }), before.catalog)
  const { offset } = await after.repository.upload(id)
  assert.ok(offset > 0 && offset <= 60_000, String(offset))
  await after.repository.finish(id, digest, pieces(content.slice(offset)), { start: offset })
  assert.equal(await contentOf(after), digest)
})

test('a disk that is full in the middle: the upload goes on when there is room', async () => {
  let isFull = true
  const step = async (what: string) => {
    if (what === 'write' && isFull) throw new StorageError('FULL', 'no room')
  }
  const parts = start(new MemoryBlobStore({ step }))
  const { id } = await parts.repository.begin()
  await assert.rejects(parts.repository.append(id, pieces(content), {}), StorageError)
  isFull = false
  const { offset } = await parts.repository.upload(id)
  assert.equal(offset, 0)
  await parts.repository.append(id, pieces(content), { start: offset })
  await parts.repository.finish(id, digest, pieces(new Uint8Array()), {})
  assert.equal(await contentOf(parts), digest)
})

test('a client that is gone while its last piece is written: its next request waits for that, and goes on', async () => {
  const writing = Promise.withResolvers<void>()
  const mayWrite = Promise.withResolvers<void>()
  const step = async (what: string) => {
    if (what !== 'write') return
    writing.resolve()
    await mayWrite.promise
  }
  const parts = start(new MemoryBlobStore({ step }))
  const { id } = await parts.repository.begin()
  const gone = new AbortController()
  const first = parts.repository.append(id, pieces(content, 50_000), { signal: gone.signal })
  await writing.promise
  const here = new AbortController()
  const refused = parts.repository.append(id, pieces(content), { signal: here.signal })
  await assert.rejects(refused, fails('BLOB_UPLOAD_INVALID', 409), 'while its client is there')
  gone.abort(new Error('the client has left'))
  const second = parts.repository.append(id, pieces(content.slice(50_000)), {
    start: 50_000,
    signal: here.signal,
  })
  mayWrite.resolve()
  await assert.rejects(first, /the client has left/)
  assert.equal((await second).offset, content.length)
  await parts.repository.finish(id, digest, pieces(new Uint8Array()), {})
  assert.equal(await contentOf(parts), digest)
})

test('a wrong digest leaves nothing behind, and neither does what comes to a good end', async () => {
  const parts = start()
  await assert.rejects(pushBlob(parts, content, digestOf(content.subarray(1))), fails('DIGEST_INVALID', 400))
  assert.deepEqual(await parts.store.partials.list(), [])
  await pushBlob(parts, content)
  assert.deepEqual(await parts.store.partials.list(), [])
  assert.deepEqual(await parts.catalog.staleUploads(Date.now() + day, 10), [])
})

test('an upload that takes longer than a day is not taken for one that was left', async () => {
  const writing = Promise.withResolvers<void>()
  const mayWrite = Promise.withResolvers<void>()
  const step = async (what: string) => {
    if (what !== 'write') return
    writing.resolve()
    await mayWrite.promise
  }
  const parts = start(new MemoryBlobStore({ step }))
  const { id } = await parts.repository.begin()
  const appending = parts.repository.append(id, pieces(content), {})
  await writing.promise
  await parts.uploads.sweep(Date.now() + 2 * day)
  mayWrite.resolve()
  await appending
  await parts.repository.finish(id, digest, pieces(new Uint8Array()), {})
  assert.equal(await contentOf(parts), digest)
})

test('an upload that pauses is put aside and goes on; one that nobody comes back for is removed', async () => {
  const parts = start()
  const now = Date.now()
  const [paused, forgotten] = [await parts.repository.begin(), await parts.repository.begin()]
  for (const { id } of [paused, forgotten]) {
    await parts.repository.append(id, pieces(content.subarray(0, 60_000)), {})
  }
  await parts.uploads.sweep(now + 60_000)
  await assert.rejects(parts.store.partials.open({ id: paused.id, algorithm: 'sha256' }), /open/)
  await parts.uploads.sweep(now + day / 2)
  assert.equal((await parts.repository.upload(paused.id)).offset, 60_000)
  await parts.repository.append(paused.id, pieces(content.slice(60_000)), { start: 60_000 })
  await parts.uploads.sweep(Date.now() + 2 * day)
  await parts.uploads.sweep(Date.now() + 2 * day)
  assert.deepEqual(await parts.store.partials.list(), [])
  await assert.rejects(parts.repository.upload(forgotten.id), fails('BLOB_UPLOAD_UNKNOWN'))
})

test('a stop in the middle puts aside what was uploaded, for the next process', async () => {
  const before = start()
  const { id } = await before.repository.begin()
  await before.repository.append(id, pieces(content.subarray(0, 60_000)), {})
  await before.uploads[Symbol.asyncDispose]()
  const after = start(before.store, before.catalog)
  assert.equal((await after.repository.upload(id)).offset, 60_000)
  await after.repository.finish(id, digest, pieces(content.slice(60_000)), {})
  assert.equal(await contentOf(after), digest)
})

test('a client that does not wait for the end, and ends it again: the first end holds', async () => {
  const sealing = Promise.withResolvers<void>()
  const maySeal = Promise.withResolvers<void>()
  const step = async (what: string) => {
    if (what !== 'rename') return
    sealing.resolve()
    await maySeal.promise
  }
  const parts = start(new MemoryBlobStore({ step }))
  const { id } = await parts.repository.begin()
  await parts.repository.append(id, pieces(content), {})
  const gone = new AbortController()
  const nothing = new Uint8Array()
  const first = parts.repository.finish(id, digest, pieces(nothing), { signal: gone.signal })
  await sealing.promise
  gone.abort(new Error('the client has left'))
  const second = parts.repository.finish(id, digest, pieces(nothing), {})
  maySeal.resolve()
  await first
  await assert.rejects(second, fails('BLOB_UPLOAD_UNKNOWN', 404))
  assert.equal(await contentOf(parts), digest)
})
