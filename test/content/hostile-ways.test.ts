// What ways to the bytes of one digest may do to those who follow: lie about bytes that are here, about the size, in
// one half only; answer just when they are left; be removed just when they are taken; a disk that turns read-only.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { partialId } from '../../src/content/fill-options.ts'
import { Growing } from '../../src/content/growing.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { lent } from '../support/lent.ts'
import { blobsOver, good, type ScriptedSource, scripted } from './scripted-source.ts'

const content = testBytes(400_000, 21)
const rubbish = testBytes(400_000, 22)
const digest = digestOf(content)

async function assertGives(reader: BlobReader): Promise<void> {
  const bytes = await readAll(reader)
  await reader.verified()
  assertSameBytes(bytes, content)
  await reader[Symbol.asyncDispose]()
}

async function leavePartial(store: MemoryBlobStore, bytes: number): Promise<void> {
  const partial = await store.partials.open({ id: partialId(digest), algorithm: 'sha256' })
  await partial.write(0, lent(content.subarray(0, bytes)))
  await partial.suspend(new Error('stopped'))
}

test('bytes that are here already are what a reader gets, whatever is sent over them', async () => {
  const bytes = testBytes(3_000_000, 23)
  const lies = testBytes(3_000_000, 24)
  const store = new MemoryBlobStore()
  const partial = await store.partials.open({ id: 'x', algorithm: 'sha256' })
  const growing = new Growing()
  growing.attach(partial, { window: undefined })
  const reader = growing.reader(bytes.length, 'x')
  assert.ok(reader)
  const write = async (from: Uint8Array, start: number, end: number) => {
    for (let at = start; at < end; at += 100_000) await growing.write(at, lent(from.slice(at, at + 100_000)))
  }
  await write(bytes, 0, 2_000_000)
  // Another way that cannot go on in the middle begins at 0, with other bytes up to here, and then with the right ones.
  await write(lies, 0, 1_900_000)
  await growing.write(
    1_900_000,
    lent(Buffer.concat([lies.subarray(1_900_000, 2_000_000), bytes.subarray(2_000_000, 2_100_000)])),
  )
  const read = Buffer.alloc(1_100_000)
  for (let at = 0; at < read.length; ) at += await reader.read(read.subarray(at, at + 50_000), 1_000_000 + at)
  await write(bytes, 2_100_000, bytes.length)
  await partial.seal(digestOf(bytes))
  growing.verified(bytes.length)
  growing.synced()
  await reader.verified()
  assertSameBytes(read, bytes.subarray(1_000_000, 2_100_000))
  await reader[Symbol.asyncDispose]()
})

test('half of it comes from a way that lies, half from one that does not: the good one alone is tried', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const liar = scripted('liar/x', (position) => ({
    size: content.length,
    bytes: rubbish,
    until: position < 200_000 ? 200_000 : position,
  }))
  const good = scripted('good/x', () => ({ size: content.length, bytes: content }))
  const opened = await Promise.allSettled([blobs.open(digest, liar), blobs.open(digest, good)])
  for (const each of opened) if (each.status === 'fulfilled') await each.value.reader[Symbol.asyncDispose]()
  while (blobs.fillCount > 0) await new Promise(setImmediate)
  assert.ok(await blobs.stat(digest), 'the fill that both had asked for found it')
})

test('an upstream tells that a blob ends where the bytes that are here end: they are not thrown away', async (t) => {
  const store = new MemoryBlobStore()
  await leavePartial(store, 300_000)
  const blobs = blobsOver(t, store)
  const liar = scripted('liar/x', () => ({ start: 0, size: 300_000, bytes: rubbish.subarray(0, 300_000) }))
  const opening = blobs.open(digest, liar, { size: content.length })
  await opening.then(
    ({ reader }) => reader[Symbol.asyncDispose](),
    () => {},
  )
  while (blobs.fillCount > 0) await new Promise(setImmediate)
  const good = scripted('good/x', () => ({ size: content.length, bytes: content }))
  await assertGives((await blobs.open(digest, good, { size: content.length })).reader)
  assert.deepEqual(good.asked, [300_000])
})

test('more is here than the blob has, and all ways say so: it begins anew', {
  timeout: 20_000,
}, async (t) => {
  const store = new MemoryBlobStore()
  const partial = await store.partials.open({ id: partialId(digest), algorithm: 'sha256' })
  await partial.write(0, lent(testBytes(content.length + 7, 23)))
  await partial.suspend(new Error('stopped'))
  const blobs = blobsOver(t, store)
  const ways = ['one/x', 'other/x'].map((name) => good(name, content))
  const opened = await Promise.all(ways.map((way) => blobs.open(digest, way, { size: content.length })))
  // Who has begun to read what is wrong has to be told so.
  for (const { reader } of opened) {
    await assert.rejects(reader.verified(), UpstreamError)
    await reader[Symbol.asyncDispose]()
  }
  while (blobs.fillCount > 0) await new Promise(setImmediate)
  const { reader } = await blobs.open(digest, ways[0] as ScriptedSource)
  await assertGives(reader)
  assert.equal(
    ways.reduce((sum, { given }) => sum + given, 0),
    content.length,
  )
})

test('a disk that turned read-only with a partial on it: a blob of which only the upstream tells the size is handed through', async (t) => {
  let isReadOnly = false
  const store = new MemoryBlobStore({
    step: async (name) => {
      if (isReadOnly && name !== 'open') throw new StorageError('READ_ONLY', 'the disk is read-only')
    },
  })
  await leavePartial(store, 100_000)
  isReadOnly = true
  const blobs = blobsOver(t, store)
  const source = scripted('x/x', () => ({ size: content.length, bytes: content }))
  await assertGives((await blobs.open(digest, source)).reader)
})

test('a way answers in the very moment in which it is left: it is left all the same', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const never = new Promise<void>(() => {})
  const slow = scripted('slow/x', async (_position, { signal }) => {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    return { size: content.length, bytes: content, pause: () => never }
  })
  const good = scripted('good/x', () => ({ size: content.length, bytes: content }))
  const opening = blobs.open(digest, slow)
  const { reader } = await blobs.open(digest, good, { signal: AbortSignal.timeout(60_000) })
  await assertGives(reader)
  await (await opening).reader[Symbol.asyncDispose]()
})

test('a push completes a blob in the middle of its fill and is removed at once: the fill goes on as before', async (t) => {
  const blobs = blobsOver(t, new MemoryBlobStore())
  const gate = Promise.withResolvers<void>()
  const source = scripted('x/x', () => ({
    size: content.length,
    bytes: content,
    pause: async (at) => {
      if (at === 200_000) await gate.promise
    },
  }))
  const { reader } = await blobs.open(digest, source)
  const push = await blobs.openWriter('push', 'sha256')
  await push.append([content])
  await blobs.seal(push, digest, async () => {})
  await blobs.remove(digest, async () => true)
  gate.resolve()
  await assertGives(reader)
})

test('a damaged file is replaced while it is checked: who reads the damaged one is never told that it is right', async (t) => {
  let opens = 0
  let beforeCheck = async () => {}
  const store = new MemoryBlobStore({
    step: async (name) => {
      if (name !== 'open') return
      opens += 1
      if (opens > 1) await beforeCheck()
    },
  })
  const blobs = blobsOver(t, store)
  const push = async () => {
    const partial = await blobs.openWriter('push', 'sha256')
    await partial.append([content])
    await blobs.seal(partial, digest, async () => {})
  }
  await push()
  store.damage(digest, (bytes) => bytes.fill(0, 100, 200), { touches: true })
  opens = 0
  beforeCheck = async () => {
    beforeCheck = async () => {}
    await push()
  }
  const reader = await blobs.openStored(digest)
  assert.ok(reader)
  const bytes = await readAll(reader)
  const isVerified = await reader.verified().then(
    () => true,
    () => false,
  )
  await reader[Symbol.asyncDispose]()
  if (isVerified) assertSameBytes(bytes, content)
})
