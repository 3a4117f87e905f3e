// Files that somebody else has a hand in. Thought of: an upload that is written to, or cut, between two of its parts and before its
// end; what lies in quarantine and is whole, and what is not.
import assert from 'node:assert/strict'
import { open, readdir, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../../src/oci/digest.ts'
import { FileBlobStore } from '../../../src/storage/files/file-blob-store.ts'
import { MemoryCatalog } from '../../../src/storage/memory/memory-catalog.ts'
import { blobsOver } from '../../content/scripted-source.ts'
import { storeBlob } from '../blob-store.contract.ts'
import { storageFolder, testBytes } from './storage-folder.ts'

const bytes = testBytes(300_000, 97)
const digest = digestOf(bytes)

for (const when of ['between its parts', 'before its end']) {
  for (const rests of [true, false]) {
    test(`an upload that ${rests ? 'rests and ' : ''}is changed ${when} is not published under the digest of what was sent`, async (t) => {
      for (const change of [
        async (path: string) => {
          await using file = await open(path, 'r+')
          await file.write('other', 1000)
        },
        (path: string) => truncate(path, 5000),
      ]) {
        const folder = await storageFolder(t)
        await using store = await FileBlobStore.open(folder)
        await using writer = await store.writers.open({ id: 'one', algorithm: 'sha256' })
        const touch = async (): Promise<void> => {
          if (rests) await writer.rest()
          const [name = ''] = await readdir(join(folder, 'upload'))
          await change(join(folder, 'upload', name))
        }
        await writer.append([bytes.subarray(0, 200_000)])
        const sending = async (): Promise<void> => {
          if (when === 'between its parts') await touch()
          await writer.append([bytes.subarray(200_000)])
          if (when === 'before its end') await touch()
          await writer.seal(digest)
        }
        await assert.rejects(sending())
        assert.equal(await store.stat(digest), undefined)
      }
    })
  }
}

test('what lies in quarantine and is whole comes back, and nothing else does', async (t) => {
  const folder = await storageFolder(t)
  await using store = await FileBlobStore.open(folder)
  const records = new MemoryCatalog()
  const { stored } = blobsOver(t, store, { records })
  const other = testBytes(5000, 98)
  for (const each of [bytes, other]) {
    await storeBlob(store, each)
    await store.quarantine.put(digestOf(each))
  }
  const path = join(folder, 'quarantine', digestOf(other).replace(':', '-'))
  await writeFile(path, 'wrong')
  assert.equal(await stored.restore(digestOf(other)), false)
  assert.equal(await stored.restore(digest), true)
  assert.equal(await stored.restore(digest), false, 'it is not there any more')
  assert.deepEqual(
    store.quarantine.list().map((blob) => blob.digest),
    [digestOf(other)],
  )
  assert.equal(await stored.verify(digest), 'whole')
  assert.equal((await records.blob(digest))?.size, bytes.length)
  assert.equal(await store.stat(digestOf(other)), undefined)
})
