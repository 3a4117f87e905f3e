import assert from 'node:assert/strict'
import { once } from 'node:events'
import { renameSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import type { Worker } from 'node:worker_threads'
import type { Tag } from '../../../src/oci/reference.ts'
import { StorageError } from '../../../src/storage/error.ts'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { catalogContract } from '../catalog.contract.ts'
import { alpine, anyone, latest, one, repositoryOf, two } from '../catalog-fixtures.ts'
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

const record = { digest: one.digest, checkedAt: 1 }

/** Points a tag of `alpine` at a manifest. */
function saveTag(catalog: SqliteCatalog, tag: Tag, manifest = one, at = 1): Promise<void> {
  return catalog.pulled(alpine, manifest, { ...anyone(at), tag, references: [] })
}

async function openCatalog(t: TestContext) {
  const path = join(await storageFolder(t), 'catalog.db')
  // The only way to its writer: the process tells of each worker that is started.
  const started = once(process, 'worker') as Promise<[Worker]>
  const catalog = await SqliteCatalog.open(path)
  const [writer] = await started
  return { path, catalog, writer }
}

test('the last 100 moves of a tag are kept in their order, not that it was checked', async (t) => {
  const { path, catalog } = await openCatalog(t)
  for (let n = 0; n < 60; n += 1) {
    for (const [manifest, at] of [
      [one, 10 * n],
      [one, 10 * n + 1],
      [two, 10 * n + 5],
    ] as const) {
      await saveTag(catalog, latest, manifest, at)
    }
  }
  // In the same millisecond, and after the clock was set back.
  await saveTag(catalog, latest, one, 595)
  await saveTag(catalog, latest, two, 20)
  await catalog.pulled(repositoryOf('quay.io', 'library/alpine'), one, {
    ...anyone(9),
    tag: latest,
    references: [],
  })
  await catalog[Symbol.asyncDispose]()
  using database = new DatabaseSync(path)
  const moves = database
    .prepare(
      `SELECT hex(tag_move.digest) AS digest, moved_at FROM tag_move JOIN repository ON id = repository
       WHERE origin = 'docker.io' AND tag_move.name = 'latest' ORDER BY moved_at`,
    )
    .all()
    .map((row) => [`sha256:${String(row.digest).slice(2).toLowerCase()}`, row.moved_at])
  const last = [
    [two.digest, 595],
    [one.digest, 596],
    [two.digest, 597],
  ]
  assert.equal(moves.length, 100)
  assert.deepEqual(moves.slice(-3), last)
  assert.deepEqual(moves[0], [one.digest, 110])
})

test('reads and the event loop go on while a write waits for the disk', async (t) => {
  const { path, catalog } = await openCatalog(t)
  await saveTag(catalog, latest)
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE')
  const written = t.mock.fn()
  const writing = saveTag(catalog, latest, two, 2).then(written)
  // The lock is let go behind them: one that waited for the write would do so until SQLite gives that up.
  for (let turn = 0; turn < 200; turn += 1) {
    assert.deepEqual(await catalog.tag(alpine, latest), record)
    assert.deepEqual(await catalog.tags(alpine), [latest])
    await new Promise(setImmediate)
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
  await saveTag(catalog, latest)
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE')
  const version = () => Number(other.prepare('PRAGMA data_version').get()?.data_version)
  const first = saveTag(catalog, 'first' as Tag)
  const rest = Array.from({ length: 300 }, (_, n) => saveTag(catalog, `t${n}` as Tag))
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
  await saveTag(catalog, latest)
  const other = new DatabaseSync(path)
  other.exec('BEGIN IMMEDIATE')
  const underWay = Promise.allSettled([1, 2].map(() => saveTag(catalog, latest)))
  const terminated = writer.terminate()
  other.close()
  for (const outcome of await underWay) {
    assert.equal(outcome.status, 'rejected')
    assert.match(String(outcome.status === 'rejected' && outcome.reason), /writer has ended/)
  }
  await terminated
  await assert.rejects(saveTag(catalog, latest), /writer has ended/)
  await assert.rejects(catalog.probe(), /writer has ended/)
  assert.deepEqual(await catalog.tag(alpine, latest), record)
  await catalog[Symbol.asyncDispose]()
})

test('a catalog of a later program is refused with a sentence that says what to do', async (t) => {
  const { path, catalog } = await openCatalog(t)
  await saveTag(catalog, latest)
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
  await using catalog = await SqliteCatalog.open(path, { onDamaged: keptAs.resolve })
  assert.equal(await readFile(await keptAs.promise, 'utf8'), 'no database'.repeat(1000))
  assert.deepEqual(await catalog.tags(repositoryOf('docker.io', 'library/app')), [])
})

test('where the writer cannot open the file, opening the catalog rejects', async (t) => {
  const path = join(await storageFolder(t), 'below/catalog.db')
  await mkdir(dirname(path))
  process.once('worker', () => renameSync(dirname(path), `${dirname(path)}-gone`))
  await assert.rejects(SqliteCatalog.open(path), /unable to open/)
})

test('a value that it refuses is the mistake of its caller, and none of the disk', async (t) => {
  await using catalog = (await openCatalog(t)).catalog
  const refused = (error: unknown) => error instanceof Error && !(error instanceof StorageError)
  for (const at of [Number.NaN, 0.5]) await assert.rejects(saveTag(catalog, latest, one, at), refused)
})

test('that it is a new one is told once', async (t) => {
  const path = join(await storageFolder(t), 'catalog.db')
  const onMade = t.mock.fn()
  for (let n = 0; n < 2; n += 1) await (await SqliteCatalog.open(path, { onMade }))[Symbol.asyncDispose]()
  assert.equal(onMade.mock.callCount(), 1)
})

test('opened again and again, each time with what was there', async (t) => {
  const { path, catalog } = await openCatalog(t)
  await catalog[Symbol.asyncDispose]()
  for (let n = 0; n < 5; n += 1) {
    await using again = await SqliteCatalog.open(path)
    assert.equal((await again.tags(alpine)).length, n)
    await saveTag(again, `t${n}` as Tag)
  }
})
