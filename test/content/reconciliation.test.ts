// Files and records that differ. Thought of: neither, either, both; more than a page of each kind, at one end of the
// digests, between others; no catalog; no files; sha512; what is pushed, and what a killed push has left; a removal under
// way; a disk that fails for a moment.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { type Logger, pino } from 'pino'
import { Reconciliation } from '../../src/content/reconciliation.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { StorageError } from '../../src/storage/error.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { storeBlob } from '../storage/blob-store.contract.ts'
import { app, fileOf, layer } from '../storage/catalog-fixtures.ts'
import { until } from '../support/settle.ts'
import { blobsOver } from './scripted-source.ts'

function parts(t: TestContext, logger: Logger = pino({ level: 'silent' })) {
  const store = new MemoryBlobStore()
  const catalog = new MemoryCatalog()
  const blobs = blobsOver(t, store, { records: catalog })
  const reconciliation = new Reconciliation({ store, catalog, blobs, logger, retryMs: 1 })
  return { store, catalog, blobs, reconciliation }
}

const bytesAt = (n: number) => Buffer.from(`blob ${n}`)
const digestAt = (n: number) => digestOf(bytesAt(n), n % 5 ? 'sha256' : 'sha512')
const put = (store: MemoryBlobStore, n: number) => storeBlob(store, bytesAt(n), digestAt(n), `p${n}`)

/** More than a page of each. */
function mixed(...kinds: ('file' | 'row')[]) {
  return Array.from({ length: 400 }, () => kinds).flat()
}

test('whatever is there of files and of records: afterwards each has the other, and what is pushed is kept', async (t) => {
  const kinds = fc.array(fc.constantFrom('both', 'file', 'row', 'neither'), { maxLength: 700 })
  await fc.assert(
    fc.asyncProperty(kinds, async (kinds) => {
      const { store, catalog, reconciliation } = parts(t)
      const expected = { adopted: 0, missing: 0 }
      for (const [n, kind] of kinds.entries()) {
        if (kind === 'both' || kind === 'file') await put(store, n)
        if (kind === 'both' || kind === 'row') await catalog.sealed(digestAt(n), fileOf(9), 1)
        if (kind === 'file') expected.adopted += 1
        if (kind === 'row') expected.missing += 1
      }
      assert.deepEqual(await reconciliation.run(), expected)
      const files = await store.list({ limit: 9999 })
      assert.deepEqual(
        (await catalog.blobs({ limit: 9999 })).map(({ digest }) => digest),
        files,
      )
      assert.deepEqual(await reconciliation.run(), { adopted: 0, missing: 0 })
    }),
    {
      numRuns: 20,
      examples: [
        [Array(600).fill('file')],
        [Array(600).fill('row')],
        [mixed('row', 'row', 'file')],
        [mixed('file', 'row', 'file')],
      ],
    },
  )
})

test('what was pushed is kept; what a push left that was killed before its record is evicted some day', async (t) => {
  const { store, catalog, reconciliation } = parts(t)
  await catalog.pushed(app, layer, fileOf(5), 1)
  await catalog.gone(layer)
  await storeBlob(store, Buffer.from('layer'), layer, 'p')
  await put(store, 1)
  await reconciliation.run()
  assert.equal((await catalog.blob(layer))?.kept, true)
  assert.equal((await catalog.blob(layer))?.verifiedAt, 0, 'nobody has looked at it')
  assert.equal(await catalog.evict(layer, Date.now() + 1e6), false)
  assert.equal(await catalog.evict(digestAt(1), Date.now() + 1e6), true)
})

test('removed between being found and being recorded: there is no record without a file', async (t) => {
  const { store, catalog, blobs } = parts(t)
  await put(store, 1)
  const condition = Promise.withResolvers<boolean>()
  const removing = blobs.remove(digestAt(1), () => condition.promise)
  const adopting = blobs.adopt(digestAt(1))
  condition.resolve(true)
  await removing
  assert.equal(await adopting, false)
  assert.equal(await catalog.blob(digestAt(1)), undefined)
})

test('a disk that fails is told, and tried again', async (t) => {
  const lines: string[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  const { store, catalog, reconciliation } = parts(t, logger)
  await put(store, 1)
  const { list } = store
  t.mock.method(store, 'list', function (this: MemoryBlobStore, ...asked: Parameters<typeof list>) {
    const isFirst = lines.length === 0
    return isFirst ? Promise.reject(new StorageError('BROKEN', 'no')) : list.apply(this, asked)
  })
  reconciliation.start()
  await until(async () => (await catalog.blob(digestAt(1) as Digest)) !== undefined)
  await until(() => lines.length === 2)
  await reconciliation[Symbol.asyncDispose]()
  assert.match(lines[0] ?? '', /could not be compared: trying again/)
  assert.match(lines[1] ?? '', /"adopted":1,"missing":0/)
})

test('blobs that cannot be looked at are left as they are, and told of once: all others are compared', async (t) => {
  const lines: string[] = []
  const logger = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) })
  const { store, catalog, reconciliation } = parts(t, logger)
  for (let n = 0; n < 600; n += 1) await catalog.sealed(digestAt(n), fileOf(9), 1)
  await put(store, 1000)
  const stuck = new Set([digestAt(3), digestAt(300)])
  const stat = store.stat.bind(store)
  store.stat = async (digest) => {
    if (stuck.has(digest)) throw new StorageError('BROKEN', 'EACCES: permission denied')
    return stat(digest)
  }
  assert.deepEqual(await reconciliation.run(), { adopted: 1, missing: 598 })
  assert.deepEqual(
    new Set((await catalog.blobs({ limit: 9 })).map(({ digest }) => digest)),
    new Set([...stuck, digestAt(1000)]),
  )
  assert.match(lines.join(''), /^[^\n]*"blobs":2,[^\n]*EACCES[^\n]*could not be looked at[^\n]*\n$/)
})
