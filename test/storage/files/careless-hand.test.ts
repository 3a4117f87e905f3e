// What somebody (a power cut, a clean-up script, an administrator) may do to the data folder while the store runs
// or between two runs: partial/ removed (A), blobs/ or one of its folders removed, a folder or a link in place of a
// file, a stray file in place of a folder, VERSION of zeros, half of a partial (bytes or journal only), a leftover
// of the probe, bytes behind the end of a partial.

import assert from 'node:assert/strict'
import { appendFile, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestHex, digestOf } from '../../../src/oci/digest.ts'
import { FileBlobStore } from '../../../src/storage/files/file-blob-store.ts'
import { lent } from '../../support/lent.ts'
import { storeBlob, storedBytes } from '../blob-store.contract.ts'
import { assertSameBytes, filesBelow, storageFolder, testBytes } from './storage-folder.ts'

const content = testBytes(200_000)
const digest = digestOf(content)
const hex = digestHex(digest)
const blobPath = join('blobs/sha256', hex.slice(0, 2), hex)
const options = { id: 'x', algorithm: 'sha256' } as const

async function openStore(t: TestContext) {
  const folder = await storageFolder(t)
  return { folder, store: await FileBlobStore.open(folder) }
}

async function assertStores(store: FileBlobStore) {
  await storeBlob(store, content, digest, 'again')
  assertSameBytes((await storedBytes(store, digest)) ?? Buffer.alloc(0), content)
}

for (const gone of ['partial', 'blobs', 'blobs/sha256', join('blobs/sha256', hex.slice(0, 2))]) {
  test(`${gone} removed at run time: it is made again by the next blob`, async (t) => {
    const { folder, store } = await openStore(t)
    await assertStores(store)
    await rm(join(folder, gone), { recursive: true })
    assert.deepEqual(await store.partials.list(), [])
    assert.equal(await store.partials.find('x'), undefined)
    await store.partials.remove('x')
    assert.deepEqual(await store.list({ limit: 10 }), gone === 'partial' ? [digest] : [])
    await store.probe()
    await assertStores(store)
  })
}

test('partial/ removed under an open partial: its seal rejects, and the next one is stored', async (t) => {
  const { folder, store } = await openStore(t)
  const partial = await store.partials.open(options)
  await using view = partial.view()
  await partial.write(0, lent(content))
  await rm(join(folder, 'partial'), { recursive: true })
  await assert.rejects(partial.seal(digest), { name: 'StorageError', code: 'BROKEN' })
  assert.equal(await view.read(Buffer.alloc(10), 0), 10, 'who reads it does not notice')
  assert.equal(await store.stat(digest), undefined)
  await assertStores(store)
})

test('a folder in place of a blob is no blob, and gives way to the blob', async (t) => {
  const { folder, store } = await openStore(t)
  await mkdir(join(folder, blobPath, 'sub'), { recursive: true })
  assert.equal(await store.stat(digest), undefined)
  assert.equal(await store.open(digest), undefined)
  assert.deepEqual(await store.list({ limit: 10 }), [])
  await assertStores(store)
  await store.delete(digest)
  await mkdir(join(folder, blobPath))
  assert.equal(await store.delete(digest), 0)
  assert.deepEqual(await filesBelow(folder), ['VERSION'])
})

test('a link in place of a blob is no blob, wherever it leads', async (t) => {
  const { folder, store } = await openStore(t)
  await mkdir(join(folder, blobPath, '..'), { recursive: true })
  await symlink('/etc/hostname', join(folder, blobPath))
  assert.equal(await store.stat(digest), undefined)
  assert.equal(await store.open(digest), undefined)
  assert.deepEqual(await store.list({ limit: 10 }), [])
  await assertStores(store)
})

test('stray files among the blobs are not listed', async (t) => {
  const { folder, store } = await openStore(t)
  await assertStores(store)
  for (const path of ['blobs/stray', 'blobs/sha256/stray', 'blobs/sha256/00', join(blobPath, '../stray')]) {
    await writeFile(join(folder, path), 'stray')
  }
  assert.deepEqual(await store.list({ limit: 10 }), [digest])
})

for (const kept of ['x', 'x.journal']) {
  test(`only ${kept} of a partial is there: it is found, it is no obstacle, and it goes at the start`, async (t) => {
    const { folder, store } = await openStore(t)
    const leave = async () => {
      const partial = await store.partials.open(options)
      await partial.write(0, lent(content))
      await partial.suspend(new Error('stopped'))
      await rm(join(folder, 'partial', kept === 'x' ? 'x.journal' : 'x'))
    }
    await leave()
    assert.deepEqual(
      (await store.partials.list()).map(({ id, bytes }) => [id, bytes]),
      [['x', 0]],
    )
    await store.partials.remove('x')
    assert.deepEqual(await filesBelow(folder), ['VERSION'])
    await leave()
    await (await store.partials.open(options)).discard(new Error('the end'))
    assert.deepEqual(await filesBelow(folder), ['VERSION'])
    await leave()
    await FileBlobStore.open(folder)
    assert.deepEqual(await filesBelow(folder), ['VERSION'])
  })
}

test('VERSION of zeros and a dangling link in partial/: it starts', async (t) => {
  const { folder, store } = await openStore(t)
  await assertStores(store)
  await writeFile(join(folder, 'VERSION'), '\0\0')
  await symlink('/nowhere', join(folder, 'partial/link'))
  await writeFile(join(folder, 'partial/.probe'), '')
  const later = await FileBlobStore.open(folder)
  assert.deepEqual(await later.list({ limit: 10 }), [digest])
  assert.equal(await readFile(join(folder, 'VERSION'), 'utf8'), '1\n')
})

for (const when of ['while it is open', 'before it is opened'] as const) {
  test(`bytes behind the end, as a write leaves that was cut off, are not published (${when})`, async (t) => {
    const { folder, store } = await openStore(t)
    const first = await store.partials.open(options)
    await first.write(0, lent(content))
    if (when === 'before it is opened') await first.suspend(new Error('killed'))
    await appendFile(join(folder, 'partial/x'), 'half of a write that was never noted')
    const partial = when === 'before it is opened' ? await store.partials.open(options) : first
    const sealed = await partial.seal(digest)
    assert.equal(sealed.size, content.length)
    assertSameBytes(await readFile(join(folder, blobPath)), content)
  })
}
