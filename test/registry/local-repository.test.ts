/**
 * Pushing over stores in memory, where each step of the disk can fail or be the last one. Thought of: an end of the
 * process at each step of a push; a power cut after the answer; a catalog that fails between the seal and its verb; a disk
 * that is full and then is not; a client that is about to leave while its next request is here; uploads that pause, that
 * are forgotten, and that go on meanwhile; the promise of a HEAD; bytes that are lost.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { Blobs } from '../../src/content/blobs.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { RegistryError } from '../../src/oci/error.ts'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { LocalRepository } from '../../src/registry/local-repository.ts'
import { Uploads } from '../../src/registry/uploads.ts'
import type { Catalog } from '../../src/storage/catalog.ts'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { buildImage, pseudoRandomBytes, type TestImage } from '../support/images.ts'

const name = 'app' as RepositoryName
const tag = 'v1' as Tag
const day = 24 * 60 * 60_000
const content = pseudoRandomBytes(100_000, 'local')
const digest = digestOf(content)

/** The parts of a mirror that a push needs. */
function start(store = new MemoryBlobStore(), catalog: Catalog = new MemoryCatalog()) {
  const lines: string[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  const blobs = new Blobs({
    store,
    records: catalog,
    rate: undefined,
    retries: 0,
    turnMs: 1000,
    patienceMs: 1000,
    logger,
  })
  const remove = (id: string) => store.partials.remove(id)
  const uploads = new Uploads({ bytes: blobs, remove, catalog, logger })
  const repository = new LocalRepository({ catalog, blobs, uploads, logger }, name)
  return { store, catalog, blobs, uploads, repository, lines }
}

type Parts = ReturnType<typeof start>

async function* pieces(bytes: Uint8Array, size = 30_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size)
}

async function pushBlob(
  { repository }: Parts,
  bytes: Uint8Array,
  as: Digest = digestOf(bytes),
): Promise<void> {
  const { id } = await repository.begin()
  await repository.append(id, pieces(bytes), {})
  await repository.finish(id, as, pieces(new Uint8Array()), {})
}

async function pushImage(parts: Parts, { config, layers, manifest }: TestImage): Promise<void> {
  for (const { bytes } of [config, ...layers]) await pushBlob(parts, bytes)
  await parts.repository.putManifest(tag, manifest)
}

async function has({ repository }: Parts, of: Digest = digest): Promise<boolean> {
  try {
    return (await repository.blobStat(of)).isStored
  } catch (error) {
    assert.ok(error instanceof RegistryError && error.code === 'BLOB_UNKNOWN', String(error))
    return false
  }
}

async function contentOf({ repository }: Parts, of: Digest = digest): Promise<Digest> {
  const { reader } = await repository.blob(of)
  await using _ = reader
  const bytes = new Uint8Array(reader.size)
  for (let at = 0; at < bytes.length; ) at += await reader.read(bytes.subarray(at), at)
  return digestOf(bytes)
}

function fails(code: string, status?: number) {
  return (error: unknown) => {
    assert.ok(error instanceof RegistryError, String(error))
    assert.equal(error.code, code)
    if (status !== undefined) assert.equal(error.status, status)
    return true
  }
}

test('an end of the process at any step of a push: what was acknowledged is there, the rest is pushed again', async () => {
  const image = buildImage({ seed: 'crash', layers: [5000] })
  let steps = 1
  for (let last = 0; last < steps; last += 1) {
    for (const kind of ['killed', 'power'] as const) {
      let step = 0
      const over = Promise.withResolvers<never>()
      over.promise.catch(() => {})
      const catalog = new MemoryCatalog()
      const store = new MemoryBlobStore({
        step: async () => {
          step += 1
          if (step <= last) return
          over.reject(new Error('the end'))
          await new Promise(() => {})
        },
      })
      const done: Digest[] = []
      const before = start(store, catalog)
      const work = (async () => {
        for (const { bytes, digest: one } of [image.config, ...image.layers]) {
          await pushBlob(before, bytes)
          done.push(one)
        }
        await before.repository.putManifest(tag, image.manifest)
        done.push(image.manifest.digest)
      })()
      await Promise.race([work, over.promise]).catch(() => {})
      steps = Math.max(steps, step + 1)
      const after = start(store.afterCrash({ kind, keeps: () => false }, {}), catalog)
      for (const one of done) {
        if (one === image.manifest.digest) {
          assert.equal((await after.repository.manifest(tag)).digest, one)
        } else assert.equal(await contentOf(after, one), one, `${kind} after step ${last}`)
      }
      await pushImage(after, image)
      for (const { digest: one } of [image.config, ...image.layers])
        assert.equal(await contentOf(after, one), one)
    }
  }
  assert.ok(steps > 8, `${steps} steps`)
})

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

test('the catalog fails between the seal and its verb: refused, and nobody has the blob until it is pushed again', async () => {
  const parts = start()
  const failing = start(
    parts.store,
    new Proxy(parts.catalog, {
      get(catalog, key) {
        if (key === 'pushed') return async () => Promise.reject(new StorageError('READ_ONLY', 'no'))
        const value = Reflect.get(catalog, key)
        return typeof value === 'function' ? value.bind(catalog) : value
      },
    }),
  )
  await assert.rejects(pushBlob(failing, content), StorageError)
  assert.notEqual(await parts.store.stat(digest), undefined, 'the file is there')
  assert.equal(await has(parts), false)
  await assert.rejects(parts.repository.blob(digest), fails('BLOB_UNKNOWN'))
  await pushBlob(parts, content)
  assert.equal(await contentOf(parts), digest)
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

test('a blob that somebody was told is here is not let go before the manifest', async () => {
  const parts = start()
  const { catalog, repository } = parts
  await pushBlob(parts, content)
  const idle = (await catalog.held(repository.key, digest))?.idleSince
  assert.ok(idle !== undefined)
  const later = Date.now() + day
  // As if the push were a day old.
  await catalog.pushed(
    repository.key,
    digest,
    (await parts.store.stat(digest)) ?? assert.fail(),
    Date.now() - day,
  )
  assert.equal(await has(parts), true)
  assert.equal(await catalog.letGo(repository.key, digest, Date.now() - day / 2), 'kept')
  assert.equal(await has(parts), true)
  assert.equal(await catalog.letGo(repository.key, digest, later), 'unlink')
  assert.equal(await has(parts), false)
})

test('bytes that are lost: 404 and a loud line, so that the next push brings them back', async () => {
  const parts = start()
  const image = buildImage({ seed: 'lost', layers: [content] })
  await pushImage(parts, image)
  await parts.store.delete(digest)
  await assert.rejects(parts.repository.blob(digest), fails('BLOB_UNKNOWN'))
  assert.match(
    parts.lines.join(''),
    /"level":50.*the bytes of a blob that was pushed are lost: push it again/,
  )
  assert.equal(await has(parts), false)
  await pushBlob(parts, content)
  assert.equal(await contentOf(parts), digest)
})

test('what is asked of it and is not there', async () => {
  const parts = start()
  const { repository } = parts
  for (const reference of [tag, digest]) {
    await assert.rejects(repository.manifest(reference), fails('MANIFEST_UNKNOWN', 404))
  }
  await assert.rejects(repository.upload('upload-1'), fails('BLOB_UPLOAD_UNKNOWN'))
  await assert.rejects(repository.upload('../../etc/passwd'), fails('BLOB_UPLOAD_UNKNOWN'))
  await pushBlob(parts, content)
  await assert.rejects(repository.manifest(digest), fails('MANIFEST_UNKNOWN'), 'a blob is no manifest')
  assert.deepEqual((await repository.referrers(digest)).referrers, [])
  assert.deepEqual(parts.lines, [])
})
