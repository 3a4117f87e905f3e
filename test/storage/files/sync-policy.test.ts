/** Thought of: many bytes, a long time, both; a sync that is under way; one that fails. */
import assert from 'node:assert/strict'
import type { FileHandle } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { SyncPolicy, syncBytes } from '../../../src/storage/files/sync-policy.ts'

const mebibyte = 1024 * 1024

/** A file whose syncs are counted, and a clock. */
function scene(t: TestContext, datasync: () => Promise<void> = async () => {}) {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const sync = t.mock.fn(datasync)
  const failed = t.mock.fn()
  const policy = new SyncPolicy({ datasync: sync } as unknown as FileHandle, 'partial x', failed)
  /** So many bytes, after so many milliseconds; how many syncs there were by then. */
  const wrote = async (bytes: number, afterMs = 0): Promise<number> => {
    now += afterMs
    policy.wrote(bytes)
    await policy.settled()
    return sync.mock.callCount()
  }
  return { policy, wrote, sync, failed }
}

test('it is synced every 64 MiB, and what comes slowly every five seconds', async (t) => {
  const { wrote } = scene(t)
  assert.equal(await wrote(64 * mebibyte - 1), 0)
  assert.equal(await wrote(1), 1)
  assert.equal(await wrote(1, 4999), 1)
  assert.equal(await wrote(1, 1), 2)
  assert.equal(await wrote(1), 2)
  assert.equal(await wrote(64 * mebibyte - 2), 2)
  assert.equal(await wrote(1), 3)
})

test('one at a time; what is written meanwhile is synced by the next', async (t) => {
  const syncing = Promise.withResolvers<void>()
  const { policy, wrote, sync } = scene(t, () => syncing.promise)
  for (let n = 0; n < 3; n += 1) policy.wrote(64 * mebibyte)
  assert.equal(sync.mock.callCount(), 1)
  syncing.resolve()
  await policy.settled()
  assert.equal(await wrote(1), 2)
})

test('a sync that fails is told as a failure of the disk', async (t) => {
  const failure = Object.assign(new Error('i/o error'), { code: 'EIO', errno: -5, syscall: 'fdatasync' })
  const { wrote, failed } = scene(t, () => Promise.reject(failure))
  await wrote(64 * mebibyte)
  const [told] = failed.mock.calls[0]?.arguments ?? []
  assert.deepEqual([told?.name, told?.code, told?.cause], ['StorageError', 'BROKEN', failure])
})

test('descriptors or memory that are short at a sync: BROKEN, since the next one would be told that all is well', async (t) => {
  const failure = Object.assign(new Error('out of memory'), {
    code: 'ENOMEM',
    errno: -12,
    syscall: 'fdatasync',
  })
  const { wrote, failed } = scene(t, () => Promise.reject(failure))
  await wrote(64 * mebibyte)
  assert.equal(failed.mock.calls[0]?.arguments[0]?.code, 'BROKEN')
  const file = { datasync: () => Promise.reject(failure) } as unknown as FileHandle
  await assert.rejects(syncBytes(file, 'partial x'), { name: 'StorageError', code: 'BROKEN', cause: failure })
})
