// A sync that fails takes bytes of the file with it, while they are still in memory: who has them from there notices nothing.
// Neighbours that were thought of: the sync of the seal, and one in the background; a reader who has had nothing yet, some,
// all, and all but the last bytes of what does not fit in memory; one who waits for all of what is small; one who comes
// when the loss is known; one beside them who had to read the disk, and is cut.

import assert from 'node:assert/strict'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { partialId } from '../../src/content/fill-options.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { BlobReader } from '../../src/storage/blob-reader.ts'
import { StorageError } from '../../src/storage/error.ts'
import { FileBlobStore } from '../../src/storage/files/file-blob-store.ts'
import { assertSameBytes, readAll, storageFolder, testBytes } from '../storage/files/storage-folder.ts'
import { FaultyDisk } from '../support/faulty-disk.ts'
import { assertReleased } from '../support/lent.ts'
import { until } from '../support/settle.ts'
import { blobsOver, good } from './scripted-source.ts'

/** Bytes: less than stays in memory of what came last. */
const near = 1_000_000
/** Bytes: more than that, and so few that no other thread hashes them, which reads them back. */
const far = 3_500_000

/**
 * A fill over files of which each sync fails and loses what was written, and a blob of `size` bytes. Nothing is synced in the
 * background before the clock goes on.
 */
async function scene(t: TestContext, size: number) {
  const clock = { ms: 0 }
  t.mock.method(performance, 'now', () => clock.ms)
  const folder = await storageFolder(t)
  const store = await FileBlobStore.open(folder)
  const disk = await FaultyDisk.below(t, folder)
  // What several connections bring ahead of readers is read from the disk.
  const blobs = blobsOver(t, store, { connections: 1 })
  const content = testBytes(size, size)
  disk.fail({ operation: 'sync', error: 'EIO', losesUnsynced: true })
  return {
    clock,
    store,
    disk,
    blobs,
    content,
    digest: digestOf(content),
    /** Reads up to `end`. */
    async reads(reader: BlobReader, end: number): Promise<void> {
      const buffer = Buffer.alloc(end)
      for (let at = 0; at < end; ) at += await reader.read(buffer.subarray(at), at)
      assertSameBytes(buffer, content.subarray(0, end))
    },
    /** Reads on from `start`, and waits until all is known to be right. */
    async takes(reader: BlobReader, start: number): Promise<void> {
      const rest = await readAll(reader, start)
      await reader.verified()
      assert.ok(reader.isVerified)
      await reader[Symbol.asyncDispose]()
      assertSameBytes(rest, content.subarray(start))
    },
    /** Whether the partial has zeros in place of what was written at a position, or is gone since. */
    async isLost(position: number): Promise<boolean> {
      const path = join(folder, 'partial', partialId(digestOf(content)))
      await using file = await open(path).catch(() => undefined)
      if (!file) return true
      const { buffer } = await file.read(Buffer.alloc(1000, 1), 0, 1000, position)
      return buffer.every((byte) => byte === 0)
    },
    async nothingLeft(): Promise<void> {
      await until(() => blobs.fillCount === 0)
      assert.ok(disk.failed > 0)
      disk.heal()
      assert.deepEqual([await store.stat(digestOf(content)), await store.partials.list()], [undefined, []])
      await blobs[Symbol.asyncDispose]()
      assertReleased()
    },
  }
}

for (const [size, end] of [
  [near, 0],
  [near, near / 2],
  [near, near],
  [far, far - near],
] as const) {
  test(`the seal loses all that was written: who has read ${end} of ${size} bytes from memory gets the others from there`, async (t) => {
    const { blobs, content, digest, reads, takes, nothingLeft } = await scene(t, size)
    const begun = Promise.withResolvers<void>()
    const readers: BlobReader[] = []
    let readTo = 0
    // It never falls so far behind that it has to ask the disk.
    const source = good('x/x', content, async (at) => {
      if (at > 0) await begun.promise
      if (end > 0) await until(() => readTo >= Math.min(end, at - near))
    })
    for (let n = 0; n < 2; n += 1) readers.push((await blobs.open(digest, source, { size })).reader)
    begun.resolve()
    const [one, idle] = readers
    assert.ok(one && idle)
    const step = 20_000
    const buffer = Buffer.alloc(step)
    while (readTo < end) readTo += await one.read(buffer.subarray(0, end - readTo), readTo)
    await until(() => blobs.fillCount === 0)
    await takes(one, end)
    // Nobody who had nothing of it had any more in memory than that.
    if (size === near) await takes(idle, 0)
    else await assert.rejects(reads(idle, size), StorageError)
    await idle[Symbol.asyncDispose]()
    assert.equal(source.given, size)
    await nothingLeft()
  })
}

test('a sync in the background loses what came so far: who follows gets all, and who has read the disk is cut', async (t) => {
  const { clock, isLost, blobs, content, digest, takes, nothingLeft } = await scene(t, far)
  const jumpAt = 2_500_000
  let readTo = 0
  const source = good('x/x', content, async (at) => {
    await until(() => readTo >= at - near)
    if (at < jumpAt) return
    // What came first is not in memory any more. The sync begins when these bytes are written.
    if (at === jumpAt) assert.ok((await behind.read(Buffer.alloc(20_000), 0)) > 0)
    else await until(() => isLost(jumpAt))
    clock.ms = 5000
  })
  const begin = async () => (await blobs.open(digest, source, { size: far })).reader
  const [front, behind] = await Promise.all([begin(), begin()])
  const buffer = Buffer.alloc(20_000)
  while (readTo < far) {
    const count = await front.read(buffer, readTo)
    assertSameBytes(buffer.subarray(0, count), content.subarray(readTo, readTo + count))
    readTo += count
  }
  assert.equal(blobs.handedThrough, 1, 'it goes on in memory')
  await takes(front, far)
  // What it has read from the disk may have been lost before that, and nothing else is asked of it.
  await assert.rejects(takes(behind, far), StorageError)
  await behind[Symbol.asyncDispose]()
  assert.equal(source.given, far)
  await nothingLeft()
})

test('who waits for all of what is small, and who comes when the loss is known, have it from the upstream', async (t) => {
  for (const size of [20_000, near]) {
    await t.test(`${size} bytes`, async (t) => {
      const { disk, blobs, content, digest, takes, nothingLeft } = await scene(t, size)
      const source = good('x/x', content)
      const { reader } = await blobs.open(digest, source, { size })
      await until(() => blobs.fillCount === 0 && disk.failed > 0)
      const late = await blobs.open(digest, source, { size })
      await takes(late.reader, 0)
      await takes(reader, 0)
      await nothingLeft()
    })
  }
})
