import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestHex, digestOf } from '../../../src/oci/digest.ts'
import { FileBlobStore } from '../../../src/storage/files/file-blob-store.ts'
import { run } from '../../support/child-process.ts'
import { lent } from '../../support/lent.ts'
import { reasonToSkip } from '../../support/programs.ts'
import { storeBlob, storedBytes } from '../blob-store.contract.ts'
import { type FaultReport, faultContent, faultPartial } from './fault-child.ts'
import { assertSameBytes, filesBelow, storageFolder, testBytes } from './storage-folder.ts'

const skip = reasonToSkip({ programs: ['strace'], root: true })
const earlier = testBytes(10_000, 4)
const digest = digestOf(faultContent)

/** Stores the child's blob while strace makes a system call fail, only on files at `path` where it is given. */
async function storeWithFault(
  folder: string,
  fault: { inject: string; path?: string; clockStepMs?: number },
) {
  const child = new URL('./fault-child.ts', import.meta.url).pathname
  const [call = ''] = fault.inject.split(':')
  const only = fault.path === undefined ? [] : ['-P', join(folder, fault.path)]
  const trace = ['-f', '-o', '/dev/null', '-e', `trace=${call}`, '-e', `inject=${fault.inject}`, ...only]
  const printed = await run('node', [child, folder, String(fault.clockStepMs ?? 0)], {
    by: [['strace', ...trace]],
    // One thread, so that calls are counted in the order in which they were made.
    environment: { UV_THREADPOOL_SIZE: '1' },
  })
  return JSON.parse(printed) as FaultReport
}

/** A folder with one blob in it. */
async function folderWithBlob(t: TestContext) {
  const folder = await storageFolder(t)
  const store = await FileBlobStore.open(folder)
  const stored = await storeBlob(store, earlier)
  const files = await filesBelow(folder)
  const assertUntouched = async () => {
    assert.deepEqual(await filesBelow(folder), files, 'nothing is published, nothing left behind')
    assertSameBytes((await storedBytes(store, stored)) ?? Buffer.alloc(0), earlier)
  }
  return { folder, store, assertUntouched }
}

test('without a fault the child stores its blob', { skip }, async (t) => {
  const { folder, store } = await folderWithBlob(t)
  const report = await storeWithFault(folder, { inject: 'fdatasync:error=EIO:when=100' })
  assert.equal(report.stage, 'stored')
  assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), faultContent)
})

for (const [what, inject] of [
  ['the fsync of the bytes', 'fdatasync:error=EIO:when=1'],
  ['the rename', '/^rename:error=EIO:when=1'],
  ['the fsync of the folder', 'fsync:error=EIO:when=1'],
  ["the fsync of the folder's folder", 'fsync:error=EIO:when=2'],
] as const) {
  test(`${what} fails: seal rejects and nothing is published`, { skip }, async (t) => {
    const { folder, assertUntouched } = await folderWithBlob(t)
    const report = await storeWithFault(folder, { inject })
    assert.deepEqual(report, { stage: 'seal', code: 'BROKEN', causeCode: 'EIO', found: 0 })
    await assertUntouched()
  })
}

test('an fsync under way fails: it is not repeated as a success, the bytes are dropped', {
  skip,
}, async (t) => {
  const { folder, assertUntouched } = await folderWithBlob(t)
  const fault = { inject: 'fdatasync:error=EIO:when=1', clockStepMs: 3000 }
  const report = await storeWithFault(folder, fault)
  assert.equal(report.causeCode, 'EIO')
  await assertUntouched()
})

for (const [causeCode, code] of [
  ['ENOSPC', 'FULL'],
  ['Unknown system error -122', 'FULL'],
  ['EFBIG', 'FULL'],
  ['EROFS', 'READ_ONLY'],
  ['ENOMEM', 'BUSY'],
  ['EIO', 'BROKEN'],
] as const) {
  // Node does not know the name of a quota.
  const error = causeCode.startsWith('Unknown') ? 'EDQUOT' : causeCode
  test(`${error} at any write of the bytes: the caller is told, nothing is left`, { skip }, async (t) => {
    const { folder, assertUntouched } = await folderWithBlob(t)
    for (const nth of causeCode === 'ENOSPC' ? [1, 2, 3, 4] : [2]) {
      const inject = `pwrite64:error=${error}:when=${nth}`
      const report = await storeWithFault(folder, { inject, path: 'partial/x' })
      assert.deepEqual(report, { stage: 'write', code, causeCode, found: 0 })
      await assertUntouched()
    }
  })
}

test('ENOSPC at a write of the journal: the caller is told, nothing is left', { skip }, async (t) => {
  const { folder, assertUntouched } = await folderWithBlob(t)
  const fault = { inject: 'write:error=ENOSPC:when=2', path: 'partial/x.journal', clockStepMs: 100 }
  const report = await storeWithFault(folder, fault)
  assert.deepEqual(report, { stage: 'write', code: 'FULL', causeCode: 'ENOSPC', found: 0 })
  await assertUntouched()
})

test('descriptors are short at the seal: it says so, loses nothing, and the next try succeeds', {
  skip,
}, async (t) => {
  const { folder, store } = await folderWithBlob(t)
  const path = join('blobs/sha256', digestHex(digest).slice(0, 2))
  const report = await storeWithFault(folder, { inject: 'openat:error=EMFILE:when=1', path })
  assert.deepEqual(report, { stage: 'stored', code: 'BUSY', causeCode: 'EMFILE', found: 0 })
  assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), faultContent)
})

test('bytes of an earlier process that the disk cannot read are fetched again', { skip }, async (t) => {
  const { folder, store } = await folderWithBlob(t)
  const partial = await store.partials.open(faultPartial)
  for (const at of [0, 200_000]) await partial.write(at, lent(faultContent.subarray(at, at + 100_000)))
  await partial.suspend(new Error('stopped'))
  const report = await storeWithFault(folder, { inject: 'pread64:error=EIO:when=2', path: 'partial/x' })
  assert.deepEqual(report, { stage: 'stored', found: 100_000 })
  assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), faultContent)
})
