import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync, statfsSync } from 'node:fs'
import { mkdir, open, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { storageFolder } from '../storage/files/storage-folder.ts'
import { FaultyDisk } from './faulty-disk.ts'

test('the n-th write fails, leaves half of it behind, and the next one goes', async (t) => {
  const folder = await storageFolder(t)
  const disk = await FaultyDisk.below(t, folder)
  const path = join(folder, 'file')
  await using file = await open(path, 'w+')
  disk.fail({ operation: 'write', error: 'ENOSPC', nth: 2, times: 1 })
  await file.write(Buffer.from('aaaa'), 0, 4, 0)
  await assert.rejects(file.write(Buffer.from('bbbb'), 0, 4, 4), { code: 'ENOSPC', errno: -28 })
  assert.equal(await readFile(path, 'utf8'), 'aaaabb')
  await file.writev([Buffer.from('cc'), Buffer.from('cc')], 4)
  assert.equal(await readFile(path, 'utf8'), 'aaaacccc')
  assert.equal(disk.failed, 1)
  assert.equal(disk.counts.write, 3)
})

test('a sync that fails may take what was not synced', async (t) => {
  const folder = await storageFolder(t)
  const disk = await FaultyDisk.below(t, folder)
  const path = join(folder, 'file')
  await using file = await open(path, 'w+')
  await file.write(Buffer.from('aaaa'), 0, 4, 0)
  await file.datasync()
  await file.write(Buffer.from('bb'), 0, 2, 4)
  disk.fail({ operation: 'sync', error: 'EIO', losesUnsynced: true })
  await assert.rejects(file.datasync(), { code: 'EIO' })
  assert.equal(await readFile(path, 'latin1'), 'aaaa\0\0')
})

test('everything else fails as well, below the folder only, and is as before afterwards', async (t) => {
  const folder = await storageFolder(t)
  const path = join(folder, 'file')
  await t.test('faulty', async (inner) => {
    const disk = await FaultyDisk.below(inner, folder)
    const calls = {
      open: () => open(path),
      create: () => open(path, 'w'),
      rename: () => rename(path, join(folder, 'other')),
      unlink: () => unlink(path),
      mkdir: () => mkdir(join(folder, 'below')),
      stat: () => stat(path),
      read: () => readFile(path),
      space: async () => statfsSync(folder),
    } as const
    for (const [operation, call] of Object.entries(calls)) {
      disk.fail({ operation: operation as keyof typeof calls, error: 'EDQUOT' })
      await assert.rejects(call, { errno: -122 }, operation)
      assert.ok(statfsSync('/').bsize > 0)
    }
    disk.heal()
    await writeFile(path, 'text')
    disk.fail({ operation: 'open', error: 'EMFILE' })
    assert.throws(() => readFileSync(path), { code: 'EMFILE' })
    await assert.rejects(FaultyDisk.below(inner, folder), /already/)
  })
  assert.equal(readFileSync(path, 'utf8'), 'text')
  await rm(path)
})

test('threads have the same disk', async (t) => {
  const folder = await storageFolder(t)
  const disk = await FaultyDisk.below(t, folder)
  const path = join(folder, 'file')
  await writeFile(path, 'text')
  disk.fail({ operation: 'open', error: 'EIO', nth: 2 })
  const source = `
    import { readFileSync } from 'node:fs'
    import { parentPort, workerData } from 'node:worker_threads'
    const read = () => { try { return readFileSync(workerData, 'utf8') } catch (error) { return error.code } }
    parentPort.postMessage([read(), read()])`
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
    workerData: path,
  })
  const [told] = await once(worker, 'message')
  await worker.terminate()
  assert.deepEqual(told, ['text', 'EIO'])
  assert.equal(disk.failed, 1)
})
