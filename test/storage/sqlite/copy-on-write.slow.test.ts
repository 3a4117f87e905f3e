/**
 * The catalog on btrfs, where it is opened otherwise. Thought of: what a URL gives a meaning to, in the name of the folder;
 * a file that an older version left; another process; a catalog that is removed, and one that is damaged.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { databaseLocation, unsharedLocation } from '../../../src/storage/sqlite/database-location.ts'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { finish } from '../../support/child-process.ts'
import { reasonToSkip } from '../../support/programs.ts'
import { smallBtrfs, smallBtrfsNeeds } from '../files/small-disk.ts'
import { storageFolder } from '../files/storage-folder.ts'
import { localAt, record, tagAt } from './everything.ts'

const oddName = 'a b?vfs=unix&c#d%41;é+\\'
const opening = new URL('../../../src/storage/sqlite/open-database.ts', import.meta.url)

test('elsewhere it is opened by its path', async (t) => {
  const path = join(await storageFolder(t), 'catalog.db')
  assert.equal(databaseLocation(path), path)
  assert.equal(databaseLocation('/nowhere/catalog.db'), '/nowhere/catalog.db')
})

test('whatever is in its path means nothing else', () => {
  const url = unsharedLocation(`/${oddName}/catalog.db`)
  assert.equal(fileURLToPath(url), `/${oddName}/catalog.db`)
  assert.deepEqual([...url.searchParams], [['vfs', 'unix-excl']])
})

test('on btrfs: both connections, and all that becomes of its file', {
  skip: reasonToSkip(smallBtrfsNeeds),
}, async (t) => {
  const folder = join(await smallBtrfs(t, 128), oddName)
  await mkdir(folder)
  const path = join(folder, 'catalog.db')
  let catalog = await SqliteCatalog.open(path)
  await record(catalog, 1)
  assert.deepEqual((await readdir(folder)).sort(), ['catalog.db', 'catalog.db-wal', 'catalog.db.open'])
  const other = await finish('node', [
    '--input-type=module',
    '--eval',
    `import { assertUnused } from ${JSON.stringify(opening.href)}; assertUnused(${JSON.stringify(path)})`,
  ])
  assert.match(other.stderr, /code: 'LOCKED'/)

  await rm(path)
  await catalog.probe()
  assert.ok(existsSync(path))
  assert.ok(await catalog.tag(localAt(1), tagAt(1)))
  await catalog[Symbol.asyncDispose]()
  assert.deepEqual(await readdir(folder), ['catalog.db'])

  await writeFile(`${path}-shm`, Buffer.alloc(32_768, 1))
  catalog = await SqliteCatalog.open(path)
  await record(catalog, 2)
  for (const n of [1, 2]) assert.ok(await catalog.tag(localAt(n), tagAt(n)))
  await catalog[Symbol.asyncDispose]()

  await writeFile(path, Buffer.alloc(8192, 1))
  const kept: string[] = []
  catalog = await SqliteCatalog.open(path, { onDamaged: (keptAs) => kept.push(keptAs) })
  assert.equal(kept.length, 1)
  await record(catalog, 3)
  assert.ok(await catalog.tag(localAt(3), tagAt(3)))
  await catalog[Symbol.asyncDispose]()
})
