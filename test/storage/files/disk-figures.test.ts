/** What a disk has. Thought of: its figures; one that fails, and one that hangs, before and after it has answered. */
import assert from 'node:assert/strict'
import fsPromises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { type TestContext, test } from 'node:test'
import { DiskGauge } from '../../../src/storage/files/disk-figures.ts'
import { storageFolder } from './storage-folder.ts'

function answerBy(t: TestContext, statfs: () => Promise<unknown>) {
  const mocked = t.mock.method(fsPromises, 'statfs', statfs as never)
  syncBuiltinESMExports()
  t.after(() => {
    t.mock.restoreAll()
    syncBuiltinESMExports()
  })
  return mocked.mock
}

const said = { bavail: 3, blocks: 10, bsize: 4096, ffree: 7, files: 9 }
const figures = { freeBytes: 3 * 4096, bytes: 10 * 4096, freeInodes: 7, inodes: 9 }

test('they are those of the disk of the folder', async (t) => {
  const folder = await storageFolder(t)
  const { files, blocks, bsize } = await fsPromises.statfs(folder)
  const found = await new DiskGauge(folder).read()
  assert.deepEqual([found?.inodes, found?.bytes], [files, blocks * bsize])
  assert.ok(found && found.freeBytes > 0 && found.freeBytes < found.bytes)
})

test('a disk that hangs is asked once, and what it said last is told; one that fails is told the same way', async (t) => {
  const gauge = new DiskGauge('/', { waitMs: 5 })
  let answer: () => Promise<unknown> = () => new Promise(() => {})
  const calls = answerBy(t, () => answer())
  assert.deepEqual(await Promise.all([gauge.read(), gauge.read()]), [undefined, undefined])
  await gauge.read()
  assert.equal(calls.callCount(), 1)
  const other = new DiskGauge('/', { waitMs: 5 })
  answer = async () => said
  assert.deepEqual(await other.read(), figures)
  answer = () => Promise.reject(new Error('EIO'))
  assert.deepEqual(await other.read(), figures)
  answer = () => new Promise(() => {})
  assert.deepEqual(await other.read(), figures)
})
