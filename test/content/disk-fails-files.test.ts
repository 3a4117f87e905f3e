// A file system that fails under a fill: what is in memory only in `disk-fails.test.ts` is on a real disk here, that
// loses what it took, and cannot read it back.

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { partialId } from '../../src/content/fill-options.ts'
import { StorageError } from '../../src/storage/error.ts'
import { FileBlobStore } from '../../src/storage/files/file-blob-store.ts'
import { FilePartial } from '../../src/storage/files/file-partial.ts'
import { storageFolder } from '../storage/files/storage-folder.ts'
import { FaultyDisk } from '../support/faulty-disk.ts'
import { lent } from '../support/lent.ts'
import { until } from '../support/settle.ts'
import { content, digest, half, pullsThrough, size, takes } from './pulls-through.ts'
import { blobsOver, good } from './scripted-source.ts'

/** A fill over files in a folder of which operations fail. Its clock stands still: what is due after a time is not written. */
async function faultyScene(t: TestContext) {
  t.mock.method(performance, 'now', () => 0)
  const folder = await storageFolder(t)
  const disk = await FaultyDisk.below(t, folder)
  const open = async () => {
    const store = await FileBlobStore.open(folder)
    // One that follows the front, and one far ahead.
    return { store, blobs: blobsOver(t, store, { connections: 2 }) }
  }
  return { disk, open }
}

for (const operation of ['create', 'write', 'sync', 'rename'] as const) {
  test(`each "${operation}" of a file system fails, from then on or once: all bytes, once over the line, nothing left`, async (t) => {
    const { disk, open } = await faultyScene(t)
    const first = await open()
    let times = 0
    // The first time makes folders, too.
    for (let round = 0; round < 2; round += 1) {
      const before = disk.counts[operation]
      await pullsThrough(first.blobs, () => false, { isLate: false })
      times = disk.counts[operation] - before
      await first.store.delete(digest)
    }
    assert.ok(times > 0)
    // How often a journal is written depends on how many bytes come while it is.
    const last = operation === 'write' ? times * 0.9 : times
    const nths = new Set(Array.from({ length: 8 }, (_, n) => 1 + Math.round((n * (last - 1)) / 7)))
    for (const nth of nths) {
      for (const [error, lasts] of [
        ['ENOSPC', true],
        ['EIO', false],
        ['EROFS', true],
        ['EDQUOT', false],
      ] as const) {
        // biome-ignore format: one case a line
        const what = `${operation} ${nth} of ${times}, ${error}`
        const { store, blobs } = await open()
        disk.fail({ operation, error, nth, ...(lasts ? {} : { times: 1 }), losesUnsynced: false })
        const { given } = await pullsThrough(blobs, () => disk.failed > 0, { isLate: false })
        assert.ok(disk.failed > 0, what)
        // What a connection far ahead has in hand at that moment is lost.
        assert.ok(given - size <= 20_000, `${what}: ${given}`)
        disk.heal()
        await blobs[Symbol.asyncDispose]()
        assert.deepEqual(await store.partials.list(), [], what)
        await store.delete(digest)
      }
    }
  })
}

test('what an earlier attempt left cannot be read back: it is fetched again, and whoever follows gets all', async (t) => {
  const { disk, open } = await faultyScene(t)
  const { store, blobs } = await open()
  const partial = await store.partials.open({ id: partialId(digest), algorithm: 'sha256' })
  await partial.write(1_000_000, lent(content.subarray(1_000_000, half)))
  await partial.suspend(new Error('stopped'))
  const source = good('x/x', content, async (at) => {
    // What is behind the hole is hashed when that is closed.
    if (at === 900_000) disk.fail({ operation: 'read', error: 'EIO', times: 1 })
  })
  const { reader } = await blobs.open(digest, source, { size })
  await takes(reader)
  assert.equal(disk.failed, 1)
  assert.ok(source.given <= size, String(source.given))
  await blobs[Symbol.asyncDispose]()
  assert.deepEqual([await store.stat(digest), await store.partials.list()], [undefined, []])
})

test('the disk neither takes more nor gives back what was not hashed: that is fetched first', async (t) => {
  const { disk, open } = await faultyScene(t)
  const { store, blobs } = await open()
  const partial = await store.partials.open({ id: partialId(digest), algorithm: 'sha256' })
  await partial.write(1_000_000, lent(content.subarray(1_000_000, 2_000_000)))
  await partial.suspend(new Error('stopped'))
  const { write } = FilePartial.prototype
  t.mock.method(
    FilePartial.prototype,
    'write',
    function (this: FilePartial, position: number, bytes: Uint8Array) {
      if (position >= 2_000_000) throw new StorageError('FULL', 'the disk is full')
      return Reflect.apply(write, this, [position, bytes])
    },
  )
  const source = good('x/x', content, async (at) => {
    if (at === 900_000) disk.fail({ operation: 'read', error: 'EIO' })
  })
  const openings = await Promise.all([0, 1].map(() => blobs.open(digest, source, { size })))
  await Promise.allSettled(openings.map(({ reader }) => takes(reader, 2_000_000)))
  assert.deepEqual(source.asked.slice(0, 3), [2_000_000, 0, 1_000_000])
  for (const { reader } of openings) await reader[Symbol.asyncDispose]()
})

test('a sync that fails takes bytes with it: nobody ends with others than those that were sent', async (t) => {
  const { disk, open } = await faultyScene(t)
  const { store, blobs } = await open()
  disk.fail({ operation: 'sync', error: 'EIO', losesUnsynced: true })
  const begun = Promise.withResolvers<void>()
  const source = good('x/x', content, (at) => (at >= half ? begun.promise : Promise.resolve()))
  const openings = await Promise.all([0, 1, 2].map(() => blobs.open(digest, source, { size })))
  const [front, before, after] = openings.map(({ reader }) => reader)
  assert.ok(front && before && after)
  const following = takes(front)
  const buffer = Buffer.alloc(size)
  for (const one of [before, after])
    for (let at = 0; at < 50_000; ) at += await one.read(buffer.subarray(at, 50_000), at)
  // Both are too far behind for what is in memory, when as much as this is here.
  await after.read(buffer.subarray(0, 1), half - 1)
  begun.resolve()
  // One reads on at once, and may have all bytes before the sync, but not end; one goes on when it has failed. On a busy
  // machine the first one falls behind what is in memory, and is told as well.
  const told = assert.rejects(takes(before, 50_000), StorageError)
  await following.catch((error: unknown) => assert.ok(error instanceof StorageError, String(error)))
  await until(() => blobs.fillCount === 0)
  assert.ok(disk.failed > 0)
  await told
  await assert.rejects(takes(after, 50_000), StorageError)
  for (const { reader } of openings) await reader[Symbol.asyncDispose]()
  disk.heal()
  assert.deepEqual([await store.stat(digest), await store.partials.list()], [undefined, []])
})
