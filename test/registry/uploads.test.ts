/**
 * Uploads over stores in memory. Thought of: a kill in the middle; a disk that is full and then is not; a client that is
 * about to leave while its next request is here, in the middle and at the end; a wrong digest; uploads that pause, that
 * are forgotten, and that go on meanwhile. A stop has a file of its own.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobWriters } from '../../src/storage/blob-writer.ts'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { until } from '../support/settle.ts'
import {
  content,
  contentOf,
  day,
  digest,
  fails,
  HandClock,
  pieces,
  pushBlob,
  start,
} from './local-fixture.ts'

/** A store whose writes begin (`writing` resolves) and wait for `mayWrite`. */
function storeWithHeldWrites() {
  const writing = Promise.withResolvers<void>()
  const mayWrite = Promise.withResolvers<void>()
  const step = async (what: string) => {
    if (what !== 'write') return
    writing.resolve()
    await mayWrite.promise
  }
  return { store: new MemoryBlobStore({ step }), writing, mayWrite }
}

function withWriters(store: MemoryBlobStore, changed: { [Name in keyof BlobWriters]?: BlobWriters[Name] }) {
  return Object.defineProperty(store, 'writers', { value: { ...store.writers, ...changed } })
}

test('an upload that a kill interrupted goes on with what the disk has', async () => {
  const before = start()
  const { id } = await before.repository.begin()
  await before.repository.append(id, pieces(content.subarray(0, 60_000)), {})
  const after = start(before.store.afterCrash({ kind: 'killed', keeps: () => true }), before.catalog)
  const { offset } = await after.repository.upload(id)
  assert.equal(offset, 60_000, 'all that was acknowledged')
  await after.repository.finish(id, digest, pieces(content.slice(offset)), { start: offset })
  assert.equal(await contentOf(after), digest)
})

for (const code of ['FULL', 'BROKEN', 'READ_ONLY'] as const) {
  test(`a disk that fails in the middle (${code}): nothing of the upload is left, and it is begun anew`, async () => {
    let writes = 0
    const step = async (what: string) => {
      if (what === 'write' && ++writes === 2) throw new StorageError(code, 'the disk failed')
    }
    const parts = start(new MemoryBlobStore({ step }))
    const { id } = await parts.repository.begin()
    await parts.repository.append(id, pieces(content.subarray(0, 60_000)), {})
    await assert.rejects(parts.repository.append(id, pieces(content.slice(60_000)), {}), StorageError)
    assert.deepEqual(await parts.store.writers.list(), [])
    await assert.rejects(parts.repository.upload(id), fails('BLOB_UPLOAD_UNKNOWN', 404))
    assert.deepEqual(await parts.catalog.staleUploads(Date.now() + day, 10), [])
    await pushBlob(parts, content)
    assert.equal(await contentOf(parts), digest)
  })
}

test('what a broken disk does not let go of an upload is removed later', async () => {
  let isBroken = false
  const step = async (what: string) => {
    if (what === 'write' && isBroken) throw new StorageError('BROKEN', 'the disk failed')
  }
  const store = new MemoryBlobStore({ step })
  const { writers } = store
  const parts = start(
    withWriters(store, {
      remove: async (id) => {
        if (isBroken) throw new StorageError('BROKEN', 'the disk failed')
        return writers.remove(id)
      },
    }),
  )
  const { id } = await parts.repository.begin()
  await parts.repository.append(id, pieces(content.subarray(0, 60_000)), {})
  isBroken = true
  await assert.rejects(parts.repository.append(id, pieces(content.slice(60_000)), {}), StorageError)
  isBroken = false
  assert.equal((await parts.catalog.staleUploads(Date.now() + day, 10)).length, 1)
  await parts.uploads.sweep()
  assert.deepEqual(await parts.catalog.staleUploads(Date.now() + 2 * day, 10), [])
  assert.deepEqual(await writers.list(), [])
})

test('descriptors that are short for longer than a client waits cost it no byte', async () => {
  let isBusy = false
  const step = async (what: string) => {
    if (what === 'write' && isBusy) throw new StorageError('BUSY', 'no descriptor')
  }
  const parts = start(new MemoryBlobStore({ step }))
  const { id } = await parts.repository.begin()
  await parts.repository.append(id, pieces(content.subarray(0, 60_000)), {})
  isBusy = true
  await assert.rejects(parts.repository.append(id, pieces(content.slice(60_000)), {}), StorageError)
  isBusy = false
  assert.equal((await parts.repository.upload(id)).offset, 60_000)
})

test('an upload that is cancelled leaves nothing, and neither does one that is cancelled before its first byte', async () => {
  const parts = start()
  for (const bytes of [content.subarray(0, 60_000), new Uint8Array()]) {
    const { id } = await parts.repository.begin()
    await parts.repository.append(id, pieces(bytes), {})
    await parts.repository.cancel(id, {})
    await assert.rejects(parts.repository.upload(id), fails('BLOB_UPLOAD_UNKNOWN', 404))
    await assert.rejects(parts.repository.cancel(id, {}), fails('BLOB_UPLOAD_UNKNOWN', 404))
  }
  assert.deepEqual(await parts.store.writers.list(), [])
  assert.deepEqual(await parts.catalog.staleUploads(Date.now() + day, 10), [])
})

test('of many uploads that pause only some keep their files open, and all of them go on', async () => {
  let open = 0
  let most = 0
  const store = new MemoryBlobStore()
  const { writers } = store
  const openWriter = async (options: Parameters<BlobWriters['open']>[0]) => {
    const writer = await writers.open(options)
    open += 1
    most = Math.max(most, open)
    const rest = writer.rest.bind(writer)
    writer.rest = async () => {
      await rest()
      open -= 1
    }
    return writer
  }
  const parts = start(withWriters(store, { open: openWriter }))
  const ids: string[] = []
  for (let count = 0; count < 100; count += 1) {
    const { id } = await parts.repository.begin()
    await parts.repository.append(id, pieces(content.subarray(0, 10)), {})
    ids.push(id)
  }
  assert.ok(most > 20 && most <= 40, String(most))
  await until(() => open === 0)
  for (const id of ids) assert.equal((await parts.repository.upload(id)).offset, 10)
  await parts.uploads[Symbol.asyncDispose]()
})

test('uploads without end are refused, pulls and those under way go on, and an end makes room', async () => {
  const parts = start()
  const ids: string[] = []
  const begin = async () => ids.push((await parts.repository.begin()).id)
  await assert.rejects(
    async () => {
      while (ids.length < 10_000) await begin()
    },
    fails('TOOMANYREQUESTS', 429),
  )
  await parts.repository.append(ids[0] ?? '', pieces(content), {})
  await parts.repository.finish(ids[0] ?? '', digest, pieces(new Uint8Array()), {})
  assert.equal(await contentOf(parts), digest)
  await begin()
})

test('a client that is gone while its last piece is written: its next request waits for that, and goes on', async () => {
  const { store, writing, mayWrite } = storeWithHeldWrites()
  const parts = start(store)
  const { id } = await parts.repository.begin()
  const gone = new AbortController()
  const first = parts.repository.append(id, pieces(content.subarray(0, 50_000)), { signal: gone.signal })
  await writing.promise
  const here = new AbortController()
  const refused = parts.repository.append(id, pieces(content), { signal: here.signal })
  await assert.rejects(refused, fails('BLOB_UPLOAD_INVALID', 416), 'while its client is there')
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
  assert.deepEqual(await parts.store.writers.list(), [])
  await pushBlob(parts, content)
  assert.deepEqual(await parts.store.writers.list(), [])
  assert.deepEqual(await parts.catalog.staleUploads(Date.now() + day, 10), [])
})

test('an upload that takes longer than a day is not taken for one that was left', async () => {
  const { store, writing, mayWrite } = storeWithHeldWrites()
  const clock = new HandClock()
  const parts = start(store, new MemoryCatalog(), { clock })
  const { id } = await parts.repository.begin()
  const appending = parts.repository.append(id, pieces(content), {})
  await writing.promise
  clock.pass(2 * day)
  await parts.uploads.sweep()
  mayWrite.resolve()
  await appending
  await parts.repository.finish(id, digest, pieces(new Uint8Array()), {})
  assert.equal(await contentOf(parts), digest)
})

test('an upload that pauses is put aside and goes on; one that nobody comes back for is removed', async () => {
  const clock = new HandClock()
  const parts = start(new MemoryBlobStore(), new MemoryCatalog(), { clock })
  const [paused, forgotten] = [await parts.repository.begin(), await parts.repository.begin()]
  for (const { id } of [paused, forgotten]) {
    await parts.repository.append(id, pieces(content.subarray(0, 60_000)), {})
  }
  clock.pass(60_000)
  await parts.uploads.sweep()
  await assert.rejects(parts.store.writers.open({ id: paused.id, algorithm: 'sha256' }), /open/)
  clock.pass(day / 2)
  await parts.uploads.sweep()
  assert.equal((await parts.repository.upload(paused.id)).offset, 60_000)
  await parts.repository.append(paused.id, pieces(content.slice(60_000)), { start: 60_000 })
  clock.pass(day / 2)
  await parts.uploads.sweep()
  assert.equal((await parts.repository.upload(paused.id)).offset, content.length)
  clock.pass(day)
  await parts.uploads.sweep()
  assert.deepEqual(await parts.store.writers.list(), [])
  await assert.rejects(parts.repository.upload(forgotten.id), fails('BLOB_UPLOAD_UNKNOWN'))
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

test('of many uploads at once some are written to, the others wait unread, and go when their client does or the mirror stops', async () => {
  const parts = start(undefined, undefined, { silentMs: 60_000 })
  let held = Promise.withResolvers<void>()
  let reading = 0
  async function* body() {
    reading += 1
    yield content.subarray(0, 10)
    await held.promise
  }
  const begun = await Promise.all(Array.from({ length: 200 }, () => parts.repository.begin()))
  const ids = begun.map(({ id }) => id)
  const appended = ids.map((id, n) => parts.repository.append(id, body(), { client: `client ${n % 2}` }))
  await until(() => reading === 128)
  const [extra, last] = [(await parts.repository.begin()).id, (await parts.repository.begin()).id]
  const left = new AbortController()
  const leaving = parts.repository.append(extra, body(), { signal: left.signal })
  left.abort(new Error('the client has left'))
  await assert.rejects(leaving, /the client has left/)
  assert.equal(reading, 128)
  held.resolve()
  await Promise.all(appended)
  assert.equal(reading, 200)
  held = Promise.withResolvers()
  const stuck = [...ids, last].map((id, n) =>
    parts.repository.append(id, body(), { client: `client ${n % 2}` }),
  )
  await until(() => reading === 328)
  const ends = Promise.allSettled(stuck)
  await parts.uploads[Symbol.asyncDispose]()
  for (const end of await ends) assert.equal(end.status, 'rejected')
  assert.equal(reading, 328)
})
