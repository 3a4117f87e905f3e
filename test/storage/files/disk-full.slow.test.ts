import assert from 'node:assert/strict'
import { open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../../src/oci/digest.ts'
import type { StorageError } from '../../../src/storage/error.ts'
import { FileBlobStore } from '../../../src/storage/files/file-blob-store.ts'
import { run } from '../../support/child-process.ts'
import { lent } from '../../support/lent.ts'
import { reasonToSkip } from '../../support/programs.ts'
import { sizeOf, storeBlob, storedBytes } from '../blob-store.contract.ts'
import { smallDisk, smallDiskNeeds } from './small-disk.ts'
import { assertSameBytes, filesBelow, testBytes } from './storage-folder.ts'

const skip = reasonToSkip(smallDiskNeeds)
const earlier = testBytes(500_000, 1)
const content = testBytes(4_000_000, 2)
const fill = { id: 'x', algorithm: 'sha256' } as const
const noSpace = { code: 'ENOSPC' }
const full = { name: 'StorageError', code: 'FULL' }

/** A store on a disk of 3 MiB and some inodes, with one blob in it. */
async function smallStore(t: TestContext, inodes = 1000) {
  const folder = await smallDisk(t, `size=3m,nr_inodes=${inodes}`)
  const store = await FileBlobStore.open(folder)
  const digest = await storeBlob(store, earlier)
  const files = await filesBelow(folder)
  const assertUntouched = async () => {
    assert.deepEqual(await filesBelow(folder), files, 'nothing is left behind')
    assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), earlier)
  }
  return { folder, store, assertUntouched }
}

/** Takes all that is left of the disk; returns what gives it back. */
async function takeSpace(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, 'filler')
  const file = await open(path, 'w')
  await assert.rejects(async () => {
    for (;;) await file.appendFile(Buffer.alloc(65_536))
  }, noSpace)
  await file.close()
  return () => rm(path)
}

async function takeInodes(folder: string): Promise<() => Promise<void>> {
  const paths: string[] = []
  await assert.rejects(async () => {
    for (;;) {
      const path = join(folder, `filler-${paths.length}`)
      await writeFile(path, '')
      paths.push(path)
    }
  }, noSpace)
  return async () => {
    for (const path of paths) await rm(path)
  }
}

test('disk full while writing: the caller gets FULL, readers what is present', { skip }, async (t) => {
  const { store, assertUntouched } = await smallStore(t)
  const partial = await store.partials.open(fill)
  const view = partial.view()
  let written = 0
  await assert.rejects(async () => {
    for (; written < content.length; written += 100_000) {
      await partial.write(written, lent(content.subarray(written, written + 100_000)))
    }
  }, full)
  assert.ok(written > 2_000_000, `${written} bytes`)
  assert.equal(partial.present.presentUntil(0), written)
  const buffer = Buffer.alloc(1000)
  assert.equal(await view.read(buffer, written - 1000), 1000)
  assertSameBytes(buffer, content.subarray(written - 1000, written))
  const reason = new Error('no space')
  await partial.discard(reason)
  assert.equal(await view.read(buffer, 0), 1000)
  await view[Symbol.asyncDispose]()
  await assertUntouched()
  const smaller = content.subarray(0, 1_000_000)
  assert.equal(await sizeOf(store, await storeBlob(store, smaller)), smaller.length)
})

test('disk full for the journal: the caller gets FULL, and it can be discarded', { skip }, async (t) => {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const { folder, store, assertUntouched } = await smallStore(t)
  const partial = await store.partials.open(fill)
  // The bytes of the partial have their place, so that it is the journal that runs out of it.
  await writeFile(join(folder, 'partial/x'), Buffer.alloc(200_000))
  const giveBack = await takeSpace(folder)
  await assert.rejects(async () => {
    for (let at = 0; at < 200_000; at += 100) {
      now += 100
      await partial.write(at, lent(content.subarray(at, at + 100)))
    }
  }, full)
  assert.ok(partial.present.total < 200_000)
  await giveBack()
  await partial.discard(new Error('no space'))
  await assertUntouched()
})

test('disk full for the journal: suspended all the same, and the next process has what was noted', {
  skip,
}, async (t) => {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const { folder, store } = await smallStore(t)
  const bytes = content.subarray(0, 200_000)
  const options = fill
  const partial = await store.partials.open(options)
  await writeFile(join(folder, 'partial/x'), Buffer.alloc(bytes.length))
  const giveBack = await takeSpace(folder)
  await assert.rejects(async () => {
    for (let at = 0; at < bytes.length; at += 100) {
      now += 100
      await partial.write(at, lent(bytes.subarray(at, at + 100)))
    }
  }, full)
  const { total } = partial.present
  await partial.suspend(new Error('no space'))
  await giveBack()
  await using again = await store.partials.open(options)
  assert.ok(again.present.total > 0 && again.present.total <= total, `${again.present.total} of ${total}`)
  for (let gap = again.present.firstGap(bytes.length); gap; gap = again.present.firstGap(bytes.length)) {
    await again.write(gap.start, lent(bytes.subarray(gap.start, gap.end)))
  }
  await again.seal(digestOf(bytes))
  assertSameBytes((await storedBytes(store, digestOf(bytes))) ?? Buffer.alloc(0), bytes)
})

for (const take of [takeSpace, takeInodes]) {
  test(`disk full at the opening of a partial: FULL, and no file stays (${take.name})`, {
    skip,
  }, async (t) => {
    const { folder, store, assertUntouched } = await smallStore(t)
    const giveBack = await take(folder)
    await assert.rejects(store.partials.open(fill), full)
    await giveBack()
    await assertUntouched()
    await (await store.partials.open(fill)).discard(new Error('the end'))
  })

  test(`a probe of a full disk rejects with FULL and leaves nothing (${take.name})`, {
    skip,
  }, async (t) => {
    const { folder, store, assertUntouched } = await smallStore(t)
    const giveBack = await take(folder)
    await assert.rejects(store.probe(), full)
    await giveBack()
    await store.probe()
    await assertUntouched()
  })
}

test('disk full at the seal: it rejects, names ENOSPC as its cause, and publishes nothing', {
  skip,
}, async (t) => {
  const { folder, store, assertUntouched } = await smallStore(t)
  const bytes = content.subarray(0, 1_000_000)
  const digest = digestOf(bytes)
  const partial = await store.partials.open(fill)
  await partial.write(0, lent(bytes))
  const giveBack = await takeInodes(folder)
  await assert.rejects(partial.seal(digest), (error: Error) => {
    assert.equal((error as StorageError).code, 'FULL')
    assert.equal((error.cause as NodeJS.ErrnoException).code, 'ENOSPC')
    return true
  })
  assert.equal(await sizeOf(store, digest), undefined)
  await partial.suspend(new Error('the end'))
  await giveBack()
  await assertUntouched()
  await storeBlob(store, bytes)
})

test('a disk that became read-only: reads go on, probe and partials reject with READ_ONLY', {
  skip,
}, async (t) => {
  const { folder, store, assertUntouched } = await smallStore(t)
  await run('mount', ['-o', 'remount,ro', folder])
  await assert.rejects(store.probe(), { name: 'StorageError', code: 'READ_ONLY' })
  await assert.rejects(store.partials.open(fill), { name: 'StorageError', code: 'READ_ONLY' })
  await assertUntouched()
  await run('mount', ['-o', 'remount,rw', folder])
  await store.probe()
})
