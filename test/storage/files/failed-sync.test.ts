// A sync that fails is a write that failed, for good: the next one would report success for bytes that are gone. Neighbours
// that were thought of: in the background, at the end, of the bytes and of the folder; a partial and an upload; short of
// memory, which passes elsewhere; what is suspended, what cannot even be removed.

import assert from 'node:assert/strict'
import { type FileHandle, open } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../../src/oci/digest.ts'
import { FileBlobStore } from '../../../src/storage/files/file-blob-store.ts'
import { FaultyDisk } from '../../support/faulty-disk.ts'
import { lent } from '../../support/lent.ts'
import { filesBelow, storageFolder, testBytes } from './storage-folder.ts'

const content = testBytes(300_000, 12)
const digest = digestOf(content)
const one = { id: 'one', algorithm: 'sha256' } as const
const broken = { name: 'StorageError', code: 'BROKEN' }

async function scene(t: TestContext) {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const folder = await storageFolder(t)
  const store = await FileBlobStore.open(folder)
  const disk = await FaultyDisk.below(t, folder)
  return {
    store,
    disk,
    /** The next write is followed by a sync. */
    syncIsDue: () => {
      now += 5000
    },
    assertNothingLeft: async () => {
      disk.heal()
      assert.deepEqual(await filesBelow(folder), ['VERSION'])
      const later = await FileBlobStore.open(folder)
      assert.deepEqual([await later.partials.list(), await later.writers.list()], [[], []])
      assert.equal(await later.stat(digest), undefined)
    },
  }
}

test('a partial whose sync failed in the background takes nothing more, and is not kept for later', async (t) => {
  const { store, disk, syncIsDue, assertNothingLeft } = await scene(t)
  const partial = await store.partials.open(one)
  disk.fail({ operation: 'sync', error: 'EIO', times: 1 })
  syncIsDue()
  // The sync of the first bytes fails while others are written.
  await assert.rejects(async () => {
    for (let at = 0; at < content.length; at += 1000) {
      await partial.write(at, lent(content.subarray(at, at + 1000)))
      await new Promise(setImmediate)
    }
  }, broken)
  await partial.suspend(new Error('the mirror stops'))
  await assertNothingLeft()
})

test('a partial that is suspended while its sync fails is not kept either', async (t) => {
  const { store, disk, syncIsDue, assertNothingLeft } = await scene(t)
  const partial = await store.partials.open(one)
  disk.fail({ operation: 'sync', error: 'EIO', times: 1 })
  syncIsDue()
  await partial.write(0, lent(content)).catch(() => {})
  await partial.suspend(new Error('the mirror stops'))
  await assertNothingLeft()
})

for (const end of ['verify', 'detach'] as const) {
  test(`${end}: what a sync has lost before it was hashed from the file is not taken for wrong bytes`, async (t) => {
    const { store, syncIsDue, assertNothingLeft } = await scene(t)
    const partial = await store.partials.open(one)
    // The first bytes come last: those behind them are hashed from the file then.
    await partial.write(1000, lent(content.subarray(1000, 2000)))
    const [lost, told] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    await using any = await open('/dev/null')
    const syncing = t.mock.method(
      Object.getPrototypeOf(any),
      'datasync',
      async function (this: FileHandle): Promise<void> {
        await this.write(Buffer.alloc(1000), 0, 1000, 1000)
        lost.resolve()
        await told.promise
        throw Object.assign(new Error('EIO: injected'), { code: 'EIO', errno: -5, syscall: 'fdatasync' })
      },
    )
    syncIsDue()
    await partial.write(2000, lent(content.subarray(2000, 3000)))
    await lost.promise
    await partial.write(0, lent(content.subarray(0, 1000)))
    const verifying = partial.verify(digestOf(content.subarray(0, 3000)))
    const asserted = assert.rejects(verifying, broken)
    await new Promise(setImmediate)
    told.resolve()
    await asserted
    syncing.mock.restore()
    if (end === 'detach') {
      await using remains = await partial.detach(new Error('the disk failed'))
      assert.deepEqual([remains.hashedUntil, remains.isHashDoubtful], [3000, true])
    } else await partial.discard(new Error('the disk failed'))
    await assertNothingLeft()
  })
}

test('an upload whose sync failed takes nothing more, is not acknowledged, and is not gone on with', async (t) => {
  const { store, disk, syncIsDue, assertNothingLeft } = await scene(t)
  const writer = await store.writers.open(one)
  disk.fail({ operation: 'sync', error: 'EIO', times: 1 })
  syncIsDue()
  await writer.append([content])
  await writer.rest()
  for (const work of [
    () => writer.append([content]),
    () => writer.verify(digest),
    () => writer.seal(digest),
  ]) {
    await assert.rejects(work(), broken)
  }
  await writer.suspend(new Error('the mirror stops'))
  await assertNothingLeft()
})

for (const error of ['EIO', 'ENOSPC', 'ENOMEM'] as const) {
  for (const nth of [1, 2]) {
    test(`${error} at sync ${nth} of a seal: it is not tried again as a success, of a partial or of an upload`, async (t) => {
      const { store, disk, assertNothingLeft } = await scene(t)
      const partial = await store.partials.open(one)
      await partial.write(0, lent(content))
      const writer = await store.writers.open(one)
      await writer.append([content])
      for (const sealed of [partial, writer]) {
        disk.fail({ operation: 'sync', error, nth, times: 1 })
        const code = nth === 1 && error === 'ENOSPC' ? 'FULL' : 'BROKEN'
        await assert.rejects(sealed.seal(digest), { name: 'StorageError', code })
        assert.equal(disk.failed, 1)
        disk.heal()
        await assert.rejects(sealed.seal(digest))
        await sealed.suspend(new Error('the end'))
      }
      await assertNothingLeft()
    })
  }
}

for (const end of ['discard', 'detach', 'suspend'] as const) {
  test(`${end}: what a disk that failed does not even let be removed is not gone on with, and goes when it does`, async (t) => {
    const { store, disk, assertNothingLeft } = await scene(t)
    const partial = await store.partials.open(one)
    await partial.write(0, lent(content))
    disk.fail({ operation: 'sync', error: 'EIO' })
    await assert.rejects(partial.seal(digest), broken)
    disk.fail({ operation: 'unlink', error: 'EROFS' })
    const reason = new Error('the disk failed')
    if (end === 'detach') await (await partial.detach(reason))[Symbol.asyncDispose]()
    else await assert.rejects(partial[end](reason), { code: 'READ_ONLY' })
    await assert.rejects(store.partials.open(one), { code: 'READ_ONLY' })
    disk.heal()
    const again = await store.partials.open(one)
    assert.equal(again.present.total, 0)
    await again.discard(reason)
    await assertNothingLeft()
  })
}
