// Stored bytes as the disk has them. Neighbours that were thought of: a file flipped, cut, grown, emptied, swapped, a
// folder, a link, one that nobody may read; a file system that has no way past the page cache; the thread that ends for
// want of work, in the middle of a file, and when the store closes.
import assert from 'node:assert/strict'
import { chmod, mkdir, open, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { delay } from '../../../src/flow/abortable.ts'
import { type Digest, digestHex, digestOf } from '../../../src/oci/digest.ts'
import { FileBlobStore } from '../../../src/storage/files/file-blob-store.ts'
import { HashingThread } from '../../../src/storage/files/hashing-thread.ts'
import { FaultyDisk } from '../../support/faulty-disk.ts'
import { storeBlob } from '../blob-store.contract.ts'
import { filesBelow, storageFolder, testBytes } from './storage-folder.ts'

const content = testBytes(3_000_000)
const digest = digestOf(content)

async function stored(t: TestContext) {
  const folder = await storageFolder(t)
  const store = await FileBlobStore.open(folder)
  t.after(() => store[Symbol.asyncDispose]())
  await storeBlob(store, content)
  return { folder, store, path: pathOf(folder, digest) }
}

function pathOf(folder: string, of: Digest): string {
  return join(folder, 'blobs/sha256', digestHex(of).slice(0, 2), digestHex(of))
}

const damages: Record<string, (path: string) => Promise<void>> = {
  async flipped(path) {
    await using file = await open(path, 'r+')
    await file.write(Buffer.from([(content[2_999_999] ?? 0) ^ 1]), 0, 1, 2_999_999)
  },
  cut: (path) => truncate(path, 2_000_001),
  emptied: (path) => truncate(path, 0),
  grown: (path) => truncate(path, 3_000_001),
  swapped: (path) => writeFile(path, testBytes(3_000_000, 2)),
}

for (const [what, damage] of Object.entries(damages)) {
  test(`the digest of a file that was ${what} is that of its bytes`, async (t) => {
    const { store, path } = await stored(t)
    await damage(path)
    const checked = await store.check(digest)
    assert.equal(checked?.actual, digestOf(await readFile(path)))
    assert.deepEqual(checked?.file, await store.stat(digest))
  })
}

test('a file that cannot be read has no digest, and is quarantined all the same', async (t) => {
  if (process.getuid?.() === 0) return t.skip('root reads everything')
  const { store, path } = await stored(t)
  await chmod(path, 0)
  assert.deepEqual(await store.check(digest), { file: await store.stat(digest), actual: undefined })
  assert.equal(await store.quarantine.put(digest), content.length)
})

for (const operation of ['open', 'read'] as const) {
  test(`a file of which the disk fails at the ${operation} has no digest, and has it when the disk is well`, async (t) => {
    const { folder, store } = await stored(t)
    const disk = await FaultyDisk.below(t, folder)
    disk.fail({ operation, error: 'EIO' })
    assert.deepEqual(await store.check(digest), { file: await store.stat(digest), actual: undefined })
    disk.fail({ operation: 'open', error: 'EMFILE' })
    await assert.rejects(store.check(digest), { code: 'BUSY' }, 'which says nothing of the file')
    disk.heal()
    assert.equal((await store.check(digest))?.actual, digest)
  })
}

for (const [what, put] of [
  ['a folder', (path: string) => mkdir(path)],
  ['a link', (path: string) => symlink('/etc/passwd', path)],
] as const) {
  test(`${what} in the place of a blob is no blob`, async (t) => {
    const { store, path } = await stored(t)
    await rm(path)
    await put(path)
    assert.equal(await store.check(digest), undefined)
    assert.equal(await store.quarantine.put(digest), 0)
  })
}

test('a later process finds what was quarantined, and leaves alone what nobody put there', async (t) => {
  const { folder, store } = await stored(t)
  await store.quarantine.put(digest)
  await mkdir(join(folder, 'quarantine', `sha256-${'0'.repeat(64)}`))
  await writeFile(join(folder, 'quarantine/notes.txt'), 'mine')
  const later = await FileBlobStore.open(folder)
  t.after(() => later[Symbol.asyncDispose]())
  assert.deepEqual(
    later.quarantine.list().map(({ digest: each, size }) => ({ each, size })),
    [{ each: digest, size: content.length }],
  )
  await later.quarantine.remove(digest)
  assert.deepEqual(await filesBelow(folder), ['VERSION', 'quarantine/notes.txt'])
})

test('a quarantine that somebody removes is made again', async (t) => {
  const { folder, store } = await stored(t)
  await store.quarantine.put(digest)
  await rm(join(folder, 'quarantine'), { recursive: true })
  await storeBlob(store, content)
  await store.quarantine.put(digest)
  assert.deepEqual(await filesBelow(folder), ['VERSION', `quarantine/sha256-${digestHex(digest)}`])
})

test('where nothing can be quarantined it stays where it is, and that is told', async (t) => {
  const { folder, store } = await stored(t)
  await symlink('nowhere', join(folder, 'quarantine'))
  await assert.rejects(store.quarantine.put(digest), { name: 'StorageError', code: 'BROKEN' })
  assert.equal((await store.check(digest))?.actual, digest)
  assert.deepEqual(store.stored, { bytes: content.length, blobs: 1 })
})

test('a file is read where the file system knows no way past its cache', async (t) => {
  // procfs refuses O_DIRECT, and its files have no size.
  await using hashing = new HashingThread()
  const path = '/proc/self/status'
  const { actual } = await hashing.hash({ path, algorithm: 'sha256', isGentle: false })
  assert.equal(actual, digestOf(new Uint8Array()))
  const { path: plain } = await stored(t)
  assert.equal((await hashing.hash({ path: plain, algorithm: 'sha256', isGentle: true })).actual, digest)
})

test('a thread that ended for want of work is back for the next file; a file that fails fails alone', async (t) => {
  const { path } = await stored(t)
  await using hashing = new HashingThread({ idleMs: 1 })
  for (let times = 0; times < 12; times += 1) {
    const asked = { algorithm: 'sha256', isGentle: false } as const
    const missing = hashing.hash({ path: `${path}.none`, ...asked })
    const found = hashing.hash({ path, ...asked })
    await assert.rejects(missing, { code: 'ENOENT', syscall: 'open' })
    assert.equal((await found).actual, digest)
    // Before it ends, while it does, and after.
    await delay(times % 3)
  }
})

test('whoever leaves in the middle of a file ends that one alone; the end of the store ends all', async (t) => {
  const { folder, store, path } = await stored(t)
  // Of nothing but holes: it takes seconds all the same.
  const large = await storeBlob(store, testBytes(100, 3))
  await truncate(pathOf(folder, large), 2 ** 33)
  for (const after of ['at once', 'in the middle']) {
    const leaving = new AbortController()
    const left = store.check(large, { signal: leaving.signal })
    const next = store.check(digest)
    if (after === 'in the middle') setTimeout(() => leaving.abort(new Error('somebody left')), 50)
    else leaving.abort(new Error('somebody left'))
    await assert.rejects(left, /somebody left/)
    assert.equal((await next)?.actual, digest)
  }
  const cut = store.check(large)
  setTimeout(() => store[Symbol.asyncDispose](), 50)
  await assert.rejects(cut, /the store is closed/)
  await assert.rejects(store.check(digest), /the store is closed/)
  assert.equal((await readFile(path)).length, content.length)
})
