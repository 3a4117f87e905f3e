import assert from 'node:assert/strict'
import { type FileHandle, open, readFile, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestHex, digestOf } from '../../../src/oci/digest.ts'
import { FileBlobStore } from '../../../src/storage/files/file-blob-store.ts'
import { lent } from '../../support/lent.ts'
import { blobStoreContract, sizeOf, storeBlob } from '../blob-store.contract.ts'
import { assertSameBytes, filesBelow, storageFolder, testBytes } from './storage-folder.ts'

const stores = {
  FileBlobStore: {},
  'FileBlobStore, hashed by another thread': { prefixes: { leastBytes: 1, busyFrom: 0 } },
}
for (const [name, options] of Object.entries(stores)) {
  blobStoreContract(name, async (t) => {
    const folder = await storageFolder(t)
    let store = await FileBlobStore.open(folder, undefined, options)
    return {
      store,
      reopen: async () => {
        await store[Symbol.asyncDispose]()
        store = await FileBlobStore.open(folder, undefined, options)
        return store
      },
    }
  })
}

const content = testBytes(2_500_000)

async function openStore(t: TestContext) {
  const folder = await storageFolder(t)
  return { folder, store: await FileBlobStore.open(folder) }
}

test('a blob is one file under its digest, and nothing else stays', async (t) => {
  const { folder, store } = await openStore(t)
  const digests = [digestOf(content), digestOf(content, 'sha512')]
  for (const digest of digests) await storeBlob(store, content, digest)
  await store.probe()
  const expected = digests.map((digest) => {
    const hex = digestHex(digest)
    return join('blobs', digest.slice(0, 6), hex.slice(0, 2), hex)
  })
  assert.deepEqual(await filesBelow(folder), ['VERSION', ...expected])
  for (const path of expected) assertSameBytes(await readFile(join(folder, path)), content)
})

test('a partial is a file and its journal; discard and seal leave neither', async (t) => {
  const { folder, store } = await openStore(t)
  for (const end of ['discard', 'seal'] as const) {
    const partial = await store.partials.open({ id: 'x', algorithm: 'sha256' })
    await partial.write(0, lent(content))
    assert.deepEqual(await filesBelow(folder), ['VERSION', 'partial/x', 'partial/x.journal'])
    if (end === 'discard') await partial.discard(new Error('the end'))
    else await partial.seal(digestOf(content))
    await store.delete(digestOf(content))
    assert.deepEqual(await filesBelow(folder), ['VERSION'], end)
  }
})

test('a folder of a later layout is refused with a sentence that says what to do', async (t) => {
  const { folder } = await openStore(t)
  await writeFile(join(folder, 'VERSION'), '2\n')
  await assert.rejects(FileBlobStore.open(folder), (error: Error) => {
    assert.match(error.message, /layout version 2, this program knows 1: start the newer program/)
    return error.message.includes(folder)
  })
  assert.equal(await readFile(join(folder, 'VERSION'), 'utf8'), '2\n')
})

test('an empty VERSION, as a power cut at the first start leaves it, is written anew', async (t) => {
  const { folder, store } = await openStore(t)
  const digest = await storeBlob(store, content)
  await writeFile(join(folder, 'VERSION'), '')
  const later = await FileBlobStore.open(folder)
  assert.equal(await sizeOf(later, digest), content.length)
  assert.equal(await readFile(join(folder, 'VERSION'), 'utf8'), '1\n')
})

test('partials that nobody asked for in a month go at the start, others stay', async (t) => {
  const { folder, store } = await openStore(t)
  for (const id of ['old', 'new']) {
    const partial = await store.partials.open({ id, algorithm: 'sha256' })
    await partial.write(0, lent(content))
    await partial.suspend(new Error('stopped'))
  }
  const days = (count: number) => Date.now() / 1000 - count * 24 * 60 * 60
  for (const name of ['old', 'old.journal']) {
    await utimes(join(folder, 'partial', name), days(31), days(31))
  }
  for (const name of ['new', 'new.journal']) {
    await utimes(join(folder, 'partial', name), days(29), days(29))
  }
  await FileBlobStore.open(folder)
  assert.deepEqual(await filesBelow(folder), ['VERSION', 'partial/new', 'partial/new.journal'])
})

test('a stored file that became shorter under an open reader is an error, never an end', async (t) => {
  const { folder, store } = await openStore(t)
  const digest = await storeBlob(store, content)
  const hex = digestHex(digest)
  await using reader = await store.open(digest)
  assert.ok(reader)
  await truncate(join(folder, 'blobs/sha256', hex.slice(0, 2), hex), 1000)
  assert.equal(await reader.read(Buffer.alloc(1000), 0), 1000)
  await assert.rejects(reader.read(Buffer.alloc(1000), 1000), { code: 'CORRUPT', message: /shorter/ })
})

test('a partial file that became shorter under an open view is an error, never "missing"', async (t) => {
  const { folder, store } = await openStore(t)
  const partial = await store.partials.open({ id: 'x', algorithm: 'sha256' })
  await using view = partial.view()
  await partial.write(0, lent(content))
  await truncate(join(folder, 'partial/x'), 1000)
  assert.equal(await view.read(Buffer.alloc(1000), 0), 1000)
  await assert.rejects(view.read(Buffer.alloc(1000), 1000), { name: 'StorageError', code: 'BROKEN' })
  await assert.rejects(partial.seal(digestOf(content)), { name: 'StorageError', code: 'BROKEN' })
  await partial.suspend(new Error('the disk failed'))
  assert.deepEqual(await filesBelow(folder), ['VERSION'], 'nothing is published, nothing stays')
})

test('a write that began before the seal and ends after its fsync does not get behind what was verified', async (t) => {
  const { folder, store } = await openStore(t)
  await using file = await open(join(folder, 'VERSION'), 'r')
  const handles: FileHandle = Object.getPrototypeOf(file)
  const { write, datasync } = handles
  const synced = Promise.withResolvers<void>()
  const turns = async () => {
    for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate)
  }
  const partial = await store.partials.open({ id: 'x', algorithm: 'sha256' })
  await partial.write(0, lent(content))
  t.mock.method(handles, 'write', async function (this: FileHandle, ...parameters: unknown[]) {
    await Promise.race([synced.promise, turns()])
    return Reflect.apply(write, this, parameters)
  })
  t.mock.method(handles, 'datasync', async function (this: FileHandle) {
    await Reflect.apply(datasync, this, [])
    synced.resolve()
    await turns()
  })
  const writing = partial.write(content.length, lent(Buffer.from('behind the end')))
  const [sealed] = await Promise.allSettled([partial.seal(digestOf(content)), writing])
  if (sealed.status === 'fulfilled') assert.equal(await sizeOf(store, digestOf(content)), content.length)
  else assert.equal(sealed.reason.code, 'DIGEST_INVALID')
  await partial.discard(new Error('the end'))
})
