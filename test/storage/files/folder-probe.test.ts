/**
 * A probe of the disk. Thought of: each of its steps failing, in either folder, with each error; that nothing is left; a
 * folder that is gone, and one with something else in its place; other bytes than were written; several who ask at once.
 */
import assert from 'node:assert/strict'
import { mkdir, open, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { FolderProbe } from '../../../src/storage/files/folder-probe.ts'
import { FaultyDisk } from '../../support/faulty-disk.ts'
import { storageFolder } from './storage-folder.ts'

async function stage(t: TestContext) {
  const directory = await storageFolder(t)
  const folders = [join(directory, 'partial'), join(directory, 'blobs')]
  for (const folder of folders) await mkdir(folder)
  return { directory, folders, probe: new FolderProbe(folders) }
}

const steps = ['create', 'write', 'sync', 'read', 'unlink'] as const
const errors = { ENOSPC: 'FULL', EDQUOT: 'FULL', EROFS: 'READ_ONLY', EIO: 'BROKEN', EMFILE: 'BUSY' } as const

for (const operation of steps) {
  for (const [error, code] of Object.entries(errors)) {
    for (const nth of [1, 2]) {
      test(`${operation} number ${nth} fails with ${error}: ${code}, and the next one is well`, async (t) => {
        const { directory, folders, probe } = await stage(t)
        const disk = await FaultyDisk.below(t, directory)
        disk.fail({ operation, error: error as keyof typeof errors, nth, times: 1 })
        await assert.rejects(probe.run(), { name: 'StorageError', code })
        assert.equal(disk.failed, 1)
        await probe.run()
        for (const folder of folders) assert.deepEqual(await readdir(folder), [])
      })
    }
  }
}

test('each step is taken in each folder, which is made again where it is gone', async (t) => {
  const { directory, folders, probe } = await stage(t)
  const disk = await FaultyDisk.below(t, directory)
  await probe.run()
  for (const operation of steps) assert.equal(disk.counts[operation], 2, operation)
  for (const folder of folders) await rm(folder, { recursive: true })
  await probe.run()
  for (const folder of folders) assert.deepEqual(await readdir(folder), [])
})

test('a file in the place of a folder is set aside; a link that leads nowhere is a trouble', async (t) => {
  const { folders, probe } = await stage(t)
  await rm(folders[1] ?? '', { recursive: true })
  await writeFile(folders[1] ?? '', '')
  await probe.run()
  assert.deepEqual(await readdir(folders[1] ?? ''), [])
  await rm(folders[1] ?? '', { recursive: true })
  await symlink('nowhere', folders[1] ?? '')
  await assert.rejects(probe.run(), { code: 'BROKEN' })
})

test('a disk that gives back other bytes than it was given is broken', async (t) => {
  const { directory, probe } = await stage(t)
  const file = await open(join(directory, 'x'), 'w')
  const FileHandle = Object.getPrototypeOf(file)
  await file.close()
  const { write } = FileHandle
  t.mock.method(FileHandle, 'write', async function (this: unknown, bytes: Buffer, ...rest: unknown[]) {
    const other = Buffer.from(bytes)
    other.writeUInt8(255 - other.readUInt8(99), 99)
    return write.call(this, other, ...rest)
  })
  await assert.rejects(probe.run(), { code: 'BROKEN', message: /other bytes/ })
})

test('whoever asks while it is asked gets the same answer: a disk that hangs takes one thread', async (t) => {
  const { directory, probe } = await stage(t)
  const disk = await FaultyDisk.below(t, directory)
  const asking = Array.from({ length: 100 }, () => probe.run())
  assert.equal(new Set(asking).size, 1)
  await Promise.all(asking)
  assert.equal(disk.counts.sync, 2)
  await probe.run()
  assert.equal(disk.counts.sync, 4)
})
