// What may lie in a data folder before a start. Thought of: a folder, a pipe, a socket, a dangling link, a file in place of
// each thing that has its place there; in partial/ a folder, a pipe or a link in place of a partial,
// of its journal, of neither; a folder that somebody keeps there.
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../../src/oci/digest.ts'
import { FileBlobStore } from '../../../src/storage/files/file-blob-store.ts'
import { run } from '../../support/child-process.ts'
import { startMirror } from '../../support/mirror.ts'
import { storeBlob } from '../blob-store.contract.ts'
import { storageFolder, testBytes } from './storage-folder.ts'

const content = testBytes(20_000)
const files = [
  'VERSION',
  'lock',
  'catalog.db',
  'catalog.db-wal',
  'catalog.db-shm',
  'catalog.db.open',
  'pushed.journal',
  'token.key',
]
const folders = ['blobs', 'partial', 'upload']

const intruders: Record<string, (path: string, t: TestContext) => Promise<unknown>> = {
  folder: (path) => mkdir(join(path, 'full'), { recursive: true }),
  pipe: (path) => run('mkfifo', [path]),
  socket: (path, t) => {
    const server = createServer()
    t.after(() => server.close())
    return new Promise((resolve) => server.listen(path, () => resolve(undefined)))
  },
  'dangling link': (path) => symlink('nowhere', path),
  file: (path) => writeFile(path, ''),
}

for (const [what, put] of Object.entries(intruders)) {
  const places = { file: folders, folder: files }[what] ?? [...files, ...folders]
  test(`a ${what} in the place of ${places.join(', ')}: refused with its name, and left alone`, async (t) => {
    for (const name of places) {
      const folder = await storageFolder(t)
      await put(join(folder, name), t)
      await assert.rejects(startMirror({ directory: folder }), (error: NodeJS.ErrnoException) => {
        assert.equal(error.code, 'MISPLACED', `${name}: ${error}`)
        assert.ok(error.message.startsWith(join(folder, name)), error.message)
        return true
      })
      assert.deepEqual(await readdir(folder), [name])
    }
  })

  test(`a ${what} in partial/: it starts, and a blob of that name comes in`, async (t) => {
    for (const names of [['x'], ['x.journal'], ['x', 'x.journal']]) {
      const folder = await storageFolder(t)
      await mkdir(join(folder, 'partial'))
      for (const name of names) await put(join(folder, 'partial', name), t)
      const store = await FileBlobStore.open(folder)
      await storeBlob(store, content, digestOf(content), 'x')
      assert.deepEqual(await readdir(join(folder, 'partial')), [])
    }
  })
}

test('links to a file and to a folder are as good as these', async (t) => {
  const folder = await storageFolder(t)
  const elsewhere = await storageFolder(t)
  await mkdir(join(elsewhere, 'blobs'))
  await symlink(join(elsewhere, 'blobs'), join(folder, 'blobs'))
  await writeFile(join(elsewhere, 'VERSION'), '1\n')
  await symlink(join(elsewhere, 'VERSION'), join(folder, 'VERSION'))
  await using _mirror = await startMirror({ directory: folder })
})

test('a key that cannot be read is no reason not to start: another one takes its place', async (t) => {
  const folder = await storageFolder(t)
  const path = join(folder, 'token.key')
  await writeFile(path, 'none', { mode: 0 })
  await using _mirror = await startMirror({ directory: folder })
  assert.match(await readFile(path, 'utf8'), /BEGIN PRIVATE KEY/)
})

test('a folder that somebody keeps in partial/ stays, however old it is', async (t) => {
  const folder = await storageFolder(t)
  const kept = join(folder, 'partial', 'My Backup')
  await mkdir(join(kept, 'sub'), { recursive: true })
  await utimes(kept, 0, 0)
  await FileBlobStore.open(folder)
  assert.deepEqual(await readdir(kept), ['sub'])
})
