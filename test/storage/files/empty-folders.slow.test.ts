/**
 * Folders that go with their last file where files are short. Thought of: plenty of files; a folder that is not empty, or gone;
 * a file that is about to be moved into it, before and after the removal has begun; a blob that is stored after its folder went.
 */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../../src/oci/digest.ts'
import { EmptyFolders } from '../../../src/storage/files/empty-folders.ts'
import { FileBlobStore } from '../../../src/storage/files/file-blob-store.ts'
import { reasonToSkip } from '../../support/programs.ts'
import { smallDisk, smallDiskNeeds } from './small-disk.ts'

const skip = reasonToSkip(smallDiskNeeds)

const few = { free: 10, total: 200 }

async function folderIn(t: TestContext): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'larder-'))
  t.after(() => rm(parent, { recursive: true, force: true }))
  const folder = join(parent, 'aa')
  await mkdir(folder)
  return folder
}

const isThere = (folder: string) =>
  stat(folder).then(
    () => true,
    () => false,
  )

test('an empty folder goes where files are short, and stays where they are not, or have no bound', async (t) => {
  const folder = await folderIn(t)
  const folders = new EmptyFolders()
  await folders.left(folder)
  for (const files of [
    { free: 1e6, total: 2e6 },
    { free: 0, total: 0 },
  ]) {
    folders.heed(files)
    await folders.left(folder)
    assert.ok(await isThere(folder))
  }
  folders.heed(few)
  await writeFile(join(folder, 'a'), '')
  await folders.left(folder)
  assert.ok(await isThere(folder))
  await rm(join(folder, 'a'))
  await folders.left(folder)
  assert.ok(!(await isThere(folder)))
  await folders.left(folder)
})

test('a folder that something is moved into stays, and who comes during its removal waits', async (t) => {
  const folder = await folderIn(t)
  const folders = new EmptyFolders()
  folders.heed(few)
  await folders.during(folder, async () => {
    await folders.left(folder)
    assert.ok(await isThere(folder))
  })
  const going = folders.left(folder)
  const found = await folders.during(folder, () => isThere(folder))
  assert.equal(found, false)
  await going
})

test('a store whose files are short keeps no empty folders, and stores into them meanwhile', {
  skip,
}, async (t) => {
  const directory = await smallDisk(t, 'size=16m,nr_inodes=150')
  await using store = await FileBlobStore.open(directory)
  const contents = Array.from({ length: 400 }, (_, index) => Buffer.from(`blob ${index}`))
  const put = async (bytes: Buffer, nth: number) => {
    const writer = await store.writers.open({ id: `upload-${nth}`, algorithm: 'sha256' })
    await writer.append([bytes])
    await writer.seal(digestOf(bytes))
  }
  await store.room()
  // Far more prefixes than files, while others with the same ones come and go.
  for (let at = 0; at < contents.length; at += 20) {
    const [going, coming] = [contents.slice(Math.max(0, at - 20), at), contents.slice(at, at + 20)]
    await Promise.all([...going.map((bytes) => store.delete(digestOf(bytes))), ...coming.map(put)])
    for (const bytes of coming) assert.equal((await store.stat(digestOf(bytes)))?.size, bytes.length)
  }
  for (const bytes of contents) await store.delete(digestOf(bytes))
  assert.deepEqual(await readdir(join(directory, 'blobs', 'sha256')), [])
  const { files } = await store.room()
  assert.ok(files.free > 140, `${files.free}`)
})
