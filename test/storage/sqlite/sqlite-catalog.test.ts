import assert from 'node:assert/strict'
import { once } from 'node:events'
import { renameSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import type { Tag } from '../../../src/oci/reference.ts'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { catalogContract, manifestOf, repositoryOf } from '../catalog.contract.ts'
import { storageFolder } from '../files/storage-folder.ts'

catalogContract('SqliteCatalog', async (t) => {
  let opened: SqliteCatalog | undefined
  // Before the folder goes, which registers itself after this.
  t.after(() => opened?.[Symbol.asyncDispose]())
  const { path, catalog } = await openCatalog(t)
  opened = catalog
  return {
    catalog,
    reopen: async () => {
      await opened?.[Symbol.asyncDispose]()
      opened = await SqliteCatalog.open(path)
      return opened
    },
  }
})

const alpine = repositoryOf('docker.io', 'library/alpine')
const latest = 'latest' as Tag
const one = manifestOf('one')
const two = manifestOf('two')
const record = { digest: one.digest, checkedAt: 1 }

async function openCatalog(t: TestContext) {
  const path = join(await storageFolder(t), 'catalog.db')
  // The only way to its writer: the process tells of each worker that is started.
  const started = once(process, 'worker') as Promise<[Worker]>
  const catalog = await SqliteCatalog.open(path)
  const [writer] = await started
  return { path, catalog, writer }
}

test('the moves of a tag are kept, not that it was checked', async (t) => {
  const { path, catalog } = await openCatalog(t)
  for (const [digest, checkedAt] of [
    [one.digest, 10],
    [one.digest, 20],
    [two.digest, 30],
    [two.digest, 40],
    [one.digest, 50],
  ] as const) {
    await catalog.saveTag(alpine, latest, { digest, checkedAt })
  }
  await catalog.saveTag(repositoryOf('quay.io', 'library/alpine'), latest, { ...record, checkedAt: 60 })
  await catalog[Symbol.asyncDispose]()
  using database = new DatabaseSync(path)
  const history = database
    .prepare(
      `SELECT digest, moved_at FROM tag_history JOIN repository ON repository.id = repository
       WHERE upstream = 'docker.io' AND tag_history.name = 'latest' ORDER BY moved_at`,
    )
    .all()
  assert.deepEqual(
    history.map((row) => [row.digest, row.moved_at]),
    [
      [one.digest, 10],
      [two.digest, 30],
      [one.digest, 50],
    ],
  )
})

test('reads and the event loop go on while a write waits for the disk', async (t) => {
  const { path, catalog } = await openCatalog(t)
  await catalog.saveTag(alpine, latest, record)
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE')
  const written = t.mock.fn()
  const writing = catalog.saveTag(alpine, latest, { digest: two.digest, checkedAt: 2 }).then(written)
  for (let turn = 0; turn < 200; turn += 1) {
    const startedAt = performance.now()
    assert.deepEqual(await catalog.tag(alpine, latest), record)
    assert.deepEqual(await catalog.tags(alpine), [latest])
    await new Promise(setImmediate)
    assert.ok(performance.now() - startedAt < 500)
  }
  assert.equal(written.mock.callCount(), 0, 'the write must still be waiting')
  other.exec('COMMIT')
  other.close()
  await writing
  assert.equal((await catalog.tag(alpine, latest))?.digest, two.digest)
  await catalog[Symbol.asyncDispose]()
})

test('writes that queue up while one is synced are committed together', async (t) => {
  const { path, catalog } = await openCatalog(t)
  await catalog.saveTag(alpine, latest, record)
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE')
  const version = () => Number(other.prepare('PRAGMA data_version').get()?.data_version)
  const first = catalog.saveTag(alpine, 'first' as Tag, record)
  const rest = Array.from({ length: 300 }, (_, n) => catalog.saveTag(alpine, `t${n}` as Tag, record))
  other.exec('COMMIT')
  const versions = new Set<number>()
  const all = [first, ...rest].map((write) => write.then(() => versions.add(version())))
  await Promise.all(all)
  assert.ok(versions.size <= 10, `${versions.size} commits for ${all.length} writes`)
  other.close()
  await catalog[Symbol.asyncDispose]()
})

test('once its writer died, writes under way and later ones reject, reads go on', async (t) => {
  const { path, catalog, writer } = await openCatalog(t)
  await catalog.saveTag(alpine, latest, record)
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE')
  const underWay = Promise.allSettled([1, 2].map(() => catalog.saveTag(alpine, latest, record)))
  const terminated = writer.terminate()
  other.close()
  for (const outcome of await underWay) {
    assert.equal(outcome.status, 'rejected')
    assert.match(String(outcome.status === 'rejected' && outcome.reason), /writer has ended/)
  }
  await terminated
  await assert.rejects(catalog.saveTag(alpine, latest, record), /writer has ended/)
  assert.deepEqual(await catalog.tag(alpine, latest), record)
  await catalog[Symbol.asyncDispose]()
})

test('a catalog of a later program is refused with a sentence that says what to do', async (t) => {
  const { path, catalog } = await openCatalog(t)
  await catalog.saveTag(alpine, latest, record)
  await catalog[Symbol.asyncDispose]()
  {
    using database = new DatabaseSync(path)
    database.exec('PRAGMA user_version = 99')
  }
  await assert.rejects(
    SqliteCatalog.open(path),
    /catalog has schema 99, this program knows \d+: start the newer/,
  )
  using database = new DatabaseSync(path)
  assert.equal(database.prepare('PRAGMA user_version').get()?.user_version, 99)
  assert.equal(database.prepare('SELECT name FROM tag').get()?.name, latest, 'nothing was changed')
})

test('a file that is no catalog is set aside, and an empty one is begun', async (t) => {
  const folder = await storageFolder(t)
  const path = join(folder, 'catalog.db')
  await writeFile(path, 'no database'.repeat(1000))
  const keptAs = Promise.withResolvers<string>()
  await using catalog = await SqliteCatalog.open(path, keptAs.resolve)
  assert.equal(await readFile(await keptAs.promise, 'utf8'), 'no database'.repeat(1000))
  assert.deepEqual(await catalog.tags(repositoryOf('docker.io', 'library/app')), [])
})

test('where the writer cannot open the file, opening the catalog rejects', async (t) => {
  const path = join(await storageFolder(t), 'below/catalog.db')
  await mkdir(dirname(path))
  process.once('worker', () => renameSync(dirname(path), `${dirname(path)}-gone`))
  await assert.rejects(SqliteCatalog.open(path), /unable to open/)
})

test('opened again and again, each time with what was there', async (t) => {
  const { path, catalog } = await openCatalog(t)
  await catalog[Symbol.asyncDispose]()
  for (let n = 0; n < 5; n += 1) {
    await using again = await SqliteCatalog.open(path)
    assert.equal((await again.tags(alpine)).length, n)
    await again.saveTag(alpine, `t${n}` as Tag, record)
  }
})
