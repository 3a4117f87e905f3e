// A blob that nobody waits for yet is fetched. Neighbours that were thought of: it is here, it is on its way, somebody comes
// for it meanwhile, nobody comes in time, its upstream has none.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { abortOf, blobsOver, good, scripted } from './scripted-source.ts'

const bytes = testBytes(300_000, 91)
const digest = digestOf(bytes)
const ahead = { size: bytes.length, background: 'ahead' } as const

test('it is stored, and then not fetched again', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const source = good('x/x', bytes)
  assert.equal(await blobs.fetchAhead(digest, source, ahead), 'stored')
  assert.equal(await blobs.fetchAhead(digest, source, ahead), 'stored')
  assert.deepEqual(source.asked, [0])
})

test('whoever comes meanwhile follows it, and it is not dropped any more', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const dropping = new AbortController()
  const joined = Promise.withResolvers<void>()
  const source = good('x/x', bytes, async (at) => {
    if (at > 0) await joined.promise
  })
  const fetching = blobs.fetchAhead(digest, source, { ...ahead, signal: dropping.signal })
  await Promise.resolve()
  while (blobs.fillCount === 0) await new Promise(setImmediate)
  const opening = blobs.open(digest, source, { size: bytes.length, client: 'somebody' })
  const { reader, status } = await opening
  assert.equal(status, 'joined')
  dropping.abort()
  joined.resolve()
  assertSameBytes(await readAll(reader), bytes)
  await reader[Symbol.asyncDispose]()
  assert.equal(await fetching, 'stored')
  assert.deepEqual(source.asked, [0])
})

test('it is dropped where nobody comes, and what came of it is kept', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const dropping = new AbortController()
  const half = Promise.withResolvers<void>()
  const source = scripted('x/x', (position, { signal }) => ({
    size: bytes.length,
    bytes,
    pause: async (at) => {
      if (at < bytes.length / 2 || position > 0) return
      half.resolve()
      await abortOf(signal)
    },
  }))
  const fetching = blobs.fetchAhead(digest, source, { ...ahead, signal: dropping.signal })
  await half.promise
  dropping.abort()
  assert.equal(await fetching, 'dropped')
  assert.equal(await blobs.fetchAhead(digest, source, ahead), 'stored')
  assert.equal(source.given, bytes.length)
})

test('where there is none it has failed', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const source = scripted('x/x', () => {
    throw new UpstreamError('NOT_FOUND', 'x', 'it has no such blob', { status: 404 })
  })
  assert.equal(await blobs.fetchAhead(digest, source, ahead), 'failed')
})

test('of its first part no more comes until somebody does, and then the rest', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const source = good('x/x', bytes)
  const firstPart = { start: 0, end: 100_000 }
  assert.equal(await blobs.fetchAhead(digest, source, { ...ahead, firstPart }), 'dropped')
  assert.deepEqual([source.asked, source.ends, source.given], [[0], [100_000], 100_000])
  const { reader } = await blobs.open(digest, source, { size: bytes.length })
  assertSameBytes(await readAll(reader), bytes)
  await reader[Symbol.asyncDispose]()
  assert.equal(source.given, bytes.length)
})

test('whoever comes while the first part is on its way has all of it', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const joined = Promise.withResolvers<void>()
  const source = good('x/x', bytes, async (at) => {
    if (at >= 40_000) await joined.promise
  })
  const fetching = blobs.fetchAhead(digest, source, { ...ahead, firstPart: { start: 0, end: 100_000 } })
  while (source.given < 40_000) await new Promise(setImmediate)
  const { reader } = await blobs.open(digest, source, { size: bytes.length, client: 'somebody' })
  joined.resolve()
  assertSameBytes(await readAll(reader), bytes)
  await reader[Symbol.asyncDispose]()
  assert.equal(await fetching, 'stored')
  assert.equal(source.given, bytes.length)
})
