// Parts of a blob that is on its way are given before its digest is known only to clients of the upstream that brought them.
// Neighbours that were thought of: another upstream brought them, the same one did, a first part was left by an earlier fill.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { blobsOver, good } from './scripted-source.ts'

const bytes = testBytes(300_000, 97)
const digest = digestOf(bytes)
const ranges = [{ start: 0, end: 1000 }]

test('what another upstream has sent is given to nobody in parts before it is verified', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const rest = Promise.withResolvers<void>()
  const evil = good('evil/x', bytes.map((byte) => byte ^ 0xff) as Buffer, async (at) => {
    if (at >= 100_000) await rest.promise
  })
  const first = await blobs.open(digest, Object.assign(evil, { name: 'evil.test' }), { size: bytes.length })
  const own = Object.assign(good('good/x', bytes), { name: 'good.test' })
  const second = await blobs.open(digest, own, { size: bytes.length, ranges })
  assert.deepEqual([first.reader.givesParts, second.reader.givesParts], [true, false])
  await Promise.all([first, second].map(({ reader }) => reader[Symbol.asyncDispose]()))
  rest.resolve()
})

test('what an earlier fill has left of the same upstream is given in parts', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const source = good('x/x', bytes)
  const firstPart = { start: 0, end: 100_000 }
  await blobs.fetchAhead(digest, source, { size: bytes.length, background: 'ahead', firstPart })
  const rest = Promise.withResolvers<void>()
  const slow = good('x/x', bytes, () => rest.promise)
  const { reader } = await blobs.open(digest, slow, { size: bytes.length, ranges })
  assert.equal(reader.givesParts, true)
  await reader[Symbol.asyncDispose]()
  rest.resolve()
})

test('what another process has left came from nobody knows where', async (t) => {
  const store = new MemoryBlobStore()
  const before = blobsOver(t, store)
  const about = { size: bytes.length, background: 'ahead', firstPart: { start: 0, end: 100_000 } } as const
  await before.fetchAhead(digest, good('x/x', bytes), about)
  const rest = Promise.withResolvers<void>()
  const blobs = blobsOver(t, store)
  const slow = good('x/x', bytes, () => rest.promise)
  const { reader } = await blobs.open(digest, slow, { size: bytes.length, ranges })
  assert.equal(reader.givesParts, false)
  await reader[Symbol.asyncDispose]()
  rest.resolve()
  // What is in memory is held until it is stored, or removed.
  await until(() => blobs.fillCount === 0)
})
