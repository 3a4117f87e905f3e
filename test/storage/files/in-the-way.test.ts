// Something else in the place of a folder of the store, put there while it runs or before. Thought of: a file and a link in a
// circle; in the place of each folder; with blobs in the folders beside it; a folder in the place of a file of each kind;
// a folder that may not be read.
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { test } from 'node:test'
import { type Digest, digestHex, digestOf } from '../../../src/oci/digest.ts'
import { lockDirectory } from '../../../src/storage/files/directory-lock.ts'
import { FileBlobStore } from '../../../src/storage/files/file-blob-store.ts'
import { storeBlob, storedBytes } from '../blob-store.contract.ts'
import { assertSameBytes, storageFolder, testBytes } from './storage-folder.ts'

const content = testBytes(20_000)
const digest = digestOf(content)
const prefix = join('blobs/sha256', digestHex(digest).slice(0, 2))

const intruders: Record<string, (path: string) => Promise<void>> = {
  'a file': (path) => writeFile(path, 'somebody wants this'),
  'a link in a circle': (path) => symlink(basename(path), path),
}

async function push(store: FileBlobStore, bytes: Buffer): Promise<Digest> {
  const writer = await store.writers.open({ id: 'upload-1', algorithm: 'sha256' })
  await writer.append([bytes])
  await writer.verify(digestOf(bytes))
  await writer.seal(digestOf(bytes))
  return digestOf(bytes)
}

/** A blob of another folder. */
function neighbour(): Buffer {
  for (let seed = 2; ; seed += 1) {
    const bytes = testBytes(1000, seed)
    if (digestHex(digestOf(bytes)).slice(0, 2) !== digestHex(digest).slice(0, 2)) return bytes
  }
}

async function assertGivesWay(store: FileBlobStore, folder: string, place: string): Promise<void> {
  assert.equal(await store.stat(digest), undefined)
  assert.equal(await store.open(digest), undefined)
  assert.equal(await store.check(digest), undefined)
  assert.equal(await store.delete(digest), 0)
  assert.equal(await store.quarantine.put(digest), 0)
  await storeBlob(store, content, digest, 'again')
  await push(store, content)
  assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
  await store.quarantine.put(digest)
  assert.equal(await store.stat(digest), undefined)
  await push(store, content)
  await store.probe()
  const beside = await readdir(join(folder, dirname(place)))
  assert.equal(beside.filter((name) => name.startsWith(`${basename(place)}.set-aside-`)).length, 1, place)
}

for (const [what, put] of Object.entries(intruders)) {
  for (const place of ['blobs', 'blobs/sha256', prefix, 'partial', 'upload', 'quarantine']) {
    test(`${what} in the place of ${place}: what was there is missing, and it is set aside for the next blob`, async (t) => {
      const folder = await storageFolder(t)
      await using store = await FileBlobStore.open(folder)
      await push(store, content)
      const other = await push(store, neighbour())
      await store.quarantine.put(other)
      await push(store, neighbour())
      await rm(join(folder, place), { recursive: true })
      await put(join(folder, place))
      assert.deepEqual(
        (await store.list({ limit: 10 })).length,
        place === prefix ? 1 : place.startsWith('blobs') ? 0 : 2,
      )
      if (!place.startsWith('blobs')) await rm(join(folder, 'blobs'), { recursive: true })
      await assertGivesWay(store, folder, place)
    })
  }

  test(`${what} in the place of a folder of blobs at the start: all others are counted`, async (t) => {
    const folder = await storageFolder(t)
    await mkdir(join(folder, 'blobs/sha256'), { recursive: true })
    await put(join(folder, 'blobs/sha256/00'))
    ;(await lockDirectory(folder))[Symbol.dispose]()
    const before = await FileBlobStore.open(folder)
    await push(before, content)
    await before[Symbol.asyncDispose]()
    await using store = await FileBlobStore.open(folder)
    assert.deepEqual(await store.counted(), { bytes: content.length, blobs: 1 })
  })
}

test('what is set aside has what it had', async (t) => {
  const folder = await storageFolder(t)
  await using store = await FileBlobStore.open(folder)
  await mkdir(join(folder, 'blobs/sha256'), { recursive: true })
  await writeFile(join(folder, prefix), 'somebody wants this')
  await push(store, content)
  const [aside] = (await readdir(join(folder, 'blobs/sha256'))).filter((name) => name.includes('aside'))
  assert.equal(await readFile(join(folder, 'blobs/sha256', aside ?? ''), 'utf8'), 'somebody wants this')
})

test('a link that leads nowhere is left alone: what it leads to may be mounted later', async (t) => {
  const folder = await storageFolder(t)
  await using store = await FileBlobStore.open(folder)
  await mkdir(join(folder, 'blobs/sha256'), { recursive: true })
  await symlink('nowhere', join(folder, prefix))
  await assert.rejects(push(store, content), { name: 'StorageError' })
  assert.deepEqual(await readdir(join(folder, 'blobs/sha256')), [basename(prefix)])
})

test('a folder in the place of a partial, its journal, or what is quarantined gives way', async (t) => {
  const folder = await storageFolder(t)
  await using store = await FileBlobStore.open(folder)
  for (const name of ['again', 'again.journal']) {
    await mkdir(join(folder, 'partial', name, 'sub'), { recursive: true })
    await storeBlob(store, content, digest, 'again')
    await store.delete(digest)
  }
  await push(store, content)
  const place = join(folder, 'quarantine', `sha256-${digestHex(digest)}`)
  await mkdir(join(place, 'sub'), { recursive: true })
  assert.equal(await store.quarantine.put(digest), content.length)
  await rm(place)
  await mkdir(join(place, 'sub'), { recursive: true })
  assert.equal(await store.quarantine.remove(digest), content.length)
})
