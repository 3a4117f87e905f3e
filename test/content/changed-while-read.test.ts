// A stored file that somebody changes while it is read. Thought of: written to in its middle, cut, grown, with its time put
// back; changed and whole (touched, other rights, another name); set aside by whoever found it first, or evicted; read whole or a
// range; verified before or hashed beside its transfer; one reader or several; changed before anything was read.
import assert from 'node:assert/strict'
import { chmod, open, stat, truncate, utimes } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import type { Blobs } from '../../src/content/blobs.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import { blobPath } from '../../src/storage/files/blob-files.ts'
import { FileBlobStore } from '../../src/storage/files/file-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { assertSameBytes, readAll, storageFolder, testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { blobsOver, good } from './scripted-source.ts'

const bytes = testBytes(3_000_000, 91)
const digest = digestOf(bytes)

interface Parts {
  readonly blobs: Blobs
  readonly path: string
}

async function stored(t: TestContext, { isRecorded = true } = {}): Promise<Parts> {
  const folder = await storageFolder(t)
  const store = await FileBlobStore.open(folder)
  t.after(() => store[Symbol.asyncDispose]())
  const records = new MemoryCatalog()
  const first = blobsOver(t, store, { records })
  const { reader } = await first.open(digest, good('x/x', bytes))
  await readAll(reader)
  await reader[Symbol.asyncDispose]()
  await until(() => first.fillCount === 0)
  const blobs = blobsOver(t, store, { records: isRecorded ? records : new MemoryCatalog() })
  return { blobs, path: blobPath(folder, digest) }
}

async function flip(path: string): Promise<void> {
  await using file = await open(path, 'r+')
  await file.write(Buffer.from([(bytes[2_900_000] ?? 0) ^ 1]), 0, 1, 2_900_000)
}

async function opened(blobs: Blobs): Promise<BlobReader> {
  const reader = await blobs.openStored(digest)
  assert.ok(reader)
  return reader
}

/** What a client gets, who has read some already: his bytes, or undefined where he was cut. */
async function readOn(reader: BlobReader, start = 1000): Promise<Buffer | undefined> {
  try {
    const got = await readAll(reader, start)
    if (!reader.isVerified) await reader.verified()
    assert.equal(reader.isVerified, true)
    return got
  } catch {
    return undefined
  } finally {
    await reader[Symbol.asyncDispose]()
  }
}

const changes: Record<string, (path: string) => Promise<void>> = {
  'written to': flip,
  'written to, and its time put back': async (path) => {
    const { atime, mtime } = await stat(path)
    await flip(path)
    await utimes(path, atime, mtime)
  },
  cut: (path) => truncate(path, 2_000_000),
  'cut and made as long again': async (path) => {
    await truncate(path, 2_000_000)
    await truncate(path, bytes.length)
  },
}

for (const [what, change] of Object.entries(changes)) {
  for (const isRecorded of [true, false]) {
    test(`a file that is ${what} while it is read, ${isRecorded ? 'verified' : 'hashed'} before, is completed to nobody`, async (t) => {
      const { blobs, path } = await stored(t, { isRecorded })
      const readers = [await opened(blobs), await opened(blobs)]
      for (const reader of readers) await reader.read(Buffer.alloc(1000), 0)
      if (!isRecorded) await Promise.all(readers.map((reader) => reader.verified()))
      await change(path)
      for (const got of await Promise.all(readers.map((reader) => readOn(reader))))
        assert.equal(got?.length, undefined)
      assert.equal(await blobs.openStored(digest), undefined, 'it is out of the way')
    })
  }
}

test('a file that grows while it is read is completed to nobody', async (t) => {
  const { blobs, path } = await stored(t)
  const reader = await opened(blobs)
  await reader.read(Buffer.alloc(1000), 0)
  await using file = await open(path, 'a')
  await file.write('more')
  assert.equal((await readOn(reader))?.length, undefined)
})

test('who reads a blob that somebody else finds damaged is cut, though its time is as before', async (t) => {
  const { blobs, path } = await stored(t)
  const reader = await opened(blobs)
  await reader.read(Buffer.alloc(1000), 0)
  await flip(path)
  assert.equal(await blobs.stored.verify(digest), 'damaged')
  assert.equal((await readOn(reader))?.length, undefined)
})

test('whole bytes are completed, whatever else was done to their file', async (t) => {
  for (const change of [
    (path: string) => utimes(path, 1, 1),
    (path: string) => chmod(path, 0o640),
    (_: string, blobs: Blobs) => blobs.remove(digest, async () => true),
  ]) {
    const { blobs, path } = await stored(t)
    const reader = await opened(blobs)
    await reader.read(Buffer.alloc(1000), 0)
    await change(path, blobs)
    assertSameBytes((await readOn(reader)) ?? Buffer.alloc(0), bytes.subarray(1000))
  }
})

test('a range of a file that changed is not completed either', async (t) => {
  const { blobs, path } = await stored(t)
  await using reader = await opened(blobs)
  await flip(path)
  await reader.read(Buffer.alloc(1000), 2_899_500)
  assert.equal(reader.isVerified, false)
  await assert.rejects(reader.verified(), /was damaged on disk/)
})
