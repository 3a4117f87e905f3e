// Files of blobs that somebody else owns. Thought of: opened, asked for, verified; mirrored and pushed; small and large; given
// back; pushed again meanwhile; an error that names nobody.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { WatchedDisk } from '../../src/content/disk-state.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { parseRepositoryName } from '../../src/oci/repository-name.ts'
import { StorageError } from '../../src/storage/error.ts'
import { deniedIfNotAllowed } from '../../src/storage/files/stored-file.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { localOrigin, repositoryKey } from '../../src/storage/repository-key.ts'
import { assertSameBytes, readAll, testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { blobsOver, good } from './scripted-source.ts'

const app = repositoryKey(localOrigin, parseRepositoryName('app'))

for (const bytes of [testBytes(300_000, 95), testBytes(3000, 96)]) {
  const digest = digestOf(bytes)
  for (const isPushed of [true, false]) {
    test(`${bytes.length} ${isPushed ? 'pushed' : 'mirrored'} bytes that may not be read are neither damaged nor lost`, async (t) => {
      const store = new MemoryBlobStore()
      const records = new MemoryCatalog()
      const first = blobsOver(t, store, { records })
      const push = async (blobs: typeof first): Promise<void> => {
        const writer = await blobs.openWriter('upload-1', 'sha256')
        await writer.append([bytes])
        await blobs.seal(writer, digest, (file) => records.pushed(app, digest, file, Date.now()))
      }
      const pull = async (blobs: typeof first): Promise<string> => {
        const { reader, status } = await blobs.open(digest, good('x/x', bytes))
        assertSameBytes(await readAll(reader), bytes)
        await reader[Symbol.asyncDispose]()
        await until(() => blobs.fillCount === 0)
        return status
      }
      if (isPushed) await push(first)
      else await pull(first)
      const { open, check } = { open: store.open.bind(store), check: store.check.bind(store) }
      const inode = (await store.stat(digest))?.inode
      let isDenied = true
      const assertAllowed = async (): Promise<void> => {
        if (isDenied && (await store.stat(digest))?.inode === inode)
          throw new StorageError('DENIED', 'not yours')
      }
      store.open = async (asked) => assertAllowed().then(() => open(asked))
      store.check = async (...asked) => assertAllowed().then(() => check(...asked))
      const lines: string[] = []
      const logger = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) })
      const blobs = blobsOver(t, store, { records, logger })

      for (let times = 0; times < 3; times += 1) {
        await assert.rejects(blobs.openStored(digest), { code: 'DENIED' })
        await assert.rejects(blobs.stored.verify(digest), { code: 'DENIED' })
      }
      assert.deepEqual(store.quarantine.list(), [])
      assert.deepEqual(blobs.stored.damage.counts, { wrong: 0, unreadable: 0, missing: 0 })
      assert.ok(await records.blob(digest))
      assert.equal(blobs.stored.damage.lost.size, 0)
      assert.equal(lines.length, 1)
      assert.match(lines[0] ?? '', /may not be read by this user/)
      assert.equal(await blobs.stat(digest), undefined, 'whoever pushes sends it')

      if (isPushed) isDenied = false
      else assert.equal(await pull(blobs), 'miss')
      assert.equal(blobs.disk.isWell, true)
      assert.ok(blobs.disk instanceof WatchedDisk)
      assert.equal(await pull(blobs), 'hit', isPushed ? 'it was given back' : 'the new file is in its place')
      assert.equal((await blobs.stat(digest))?.size, bytes.length)
    })
  }
}

test('whoever is not allowed to read a file is told whose it is', async () => {
  const digest = digestOf(testBytes(1))
  for (const code of ['EACCES', 'EPERM']) {
    const cause = Object.assign(new Error(code), { code, syscall: 'open' })
    const error = await deniedIfNotAllowed(cause, '/nothing', digest)
    assert.ok(error instanceof StorageError && error.code === 'DENIED')
    assert.match(error.message, /may not be read: its rights/)
  }
  const other = Object.assign(new Error('EIO'), { code: 'EIO' })
  assert.equal(await deniedIfNotAllowed(other, '/nothing', digest), other)
})
