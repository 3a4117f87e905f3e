import assert from 'node:assert/strict'
import { copyFile, mkdtemp, open as openFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, type TestContext, test } from 'node:test'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { anyone, blobOf, latest, one, repositoryOf } from '../catalog-fixtures.ts'
import {
  ask,
  change,
  count,
  localAt,
  manifestAt,
  mirroredAt,
  numbers,
  record,
  tagAt,
  wholeIn,
} from './everything.ts'
import { wrongRows } from './wrong-rows.ts'

const pageSize = 4096

/** A catalog with some pages of everything, made once; and its pages by the table or index that they are of. */
const folder = await mkdtemp(join(tmpdir(), 'larder-storage-'))
after(() => rm(folder, { recursive: true }))
const whole = join(folder, 'catalog.db')
const pages = new Map<string, number[]>()
{
  await using catalog = await SqliteCatalog.open(whole)
  await Promise.all(numbers.map((n) => record(catalog, n)))
}
{
  using database = new DatabaseSync(whole)
  for (const { name, pageno } of database.prepare('SELECT name, pageno FROM dbstat').all()) {
    pages.set(String(name), [...(pages.get(String(name)) ?? []), Number(pageno)])
  }
}

/** A copy of it, open. */
async function opened(t: TestContext) {
  const path = join(folder, `${t.name.replaceAll(/\W+/g, '-')}.db`)
  await copyFile(whole, path)
  const damaged = t.mock.fn()
  const catalog = await SqliteCatalog.open(path, { onDamaged: damaged })
  t.after(() => catalog[Symbol.asyncDispose]())
  return { path, catalog, damaged }
}

/** Writes these bytes over pages of a file, the first one being 1. */
async function overwrite(path: string, pages: readonly number[], bytes: Uint8Array): Promise<void> {
  await using file = await openFile(path, 'r+')
  for (const page of pages) await file.write(bytes, 0, bytes.length, (page - 1) * pageSize)
}

/** Everything works as in one that was never damaged, and no row contradicts another one. */
async function assertWorks(catalog: SqliteCatalog, path: string): Promise<void> {
  {
    using database = new DatabaseSync(path)
    for (const [what, sql] of Object.entries(wrongRows))
      assert.deepEqual(database.prepare(sql).all(), [], what)
  }
  const repository = repositoryOf('docker.io', 'library/new')
  await catalog.pulled(repository, one, { ...anyone(1), tag: latest, references: [] })
  assert.equal((await catalog.tag(repository, latest))?.digest, one.digest)
  assert.ok(await catalog.manifest(repository, one.digest))
  await record(catalog, 0)
  assert.deepEqual(await catalog.tags(localAt(0)), [tagAt(0)])
}

const everywhere = [
  'repository',
  'sqlite_autoindex_repository_1',
  'manifest',
  'sqlite_autoindex_manifest_1',
  'holding',
  'holding_public',
  'holding_kept',
  'holding_manifest',
  'holding_idle',
  'reference',
  'reference_of',
  'tag',
  'tag_of',
  'tag_move',
  'referrers',
  'sqlite_autoindex_referrers_1',
  'blob',
  'blob_lru',
  'blob_scrub',
  'upload',
  'upload_in',
  'upload_stale',
]
const garbage = Buffer.alloc(pageSize, 'garbage')
const nothing = Buffer.alloc(pageSize)

test('all of it is garbage while running: the catalog is set aside once, and all that was asked at once is answered', async (t) => {
  const { path, catalog, damaged } = await opened(t)
  await overwrite(path, [...pages.values()].flat(), garbage)
  const more = numbers.map((n) => n + count)
  await Promise.all([ask(catalog), change(catalog), ...more.map((n) => record(catalog, n))])
  assert.equal(damaged.mock.callCount(), 1)
  for (const n of more) assert.equal((await catalog.tag(localAt(n), tagAt(n)))?.digest, manifestAt(n).digest)
})

test('writes that meet the damage at once begin one new catalog, and all of them are in it', async (t) => {
  const { path, catalog, damaged } = await opened(t)
  await overwrite(path, [...pages.values()].flat(), garbage)
  const more = [1, 2, 3].map((n) => n + count)
  await Promise.all(more.map((n) => record(catalog, n)))
  assert.equal(damaged.mock.callCount(), 1)
  for (const n of more) assert.ok(await catalog.tag(localAt(n), tagAt(n)))
})

test('who asks and meets the damage is told what could be saved', async (t) => {
  const { path, catalog, damaged } = await opened(t)
  await overwrite(path, pages.get('sqlite_autoindex_repository_1') ?? [], garbage)
  assert.equal((await catalog.tag(localAt(1), tagAt(1)))?.digest, manifestAt(1).digest)
  assert.equal(damaged.mock.callCount(), 1)
})

test('a damaged page that was met by nobody before the end is met after the next start', async (t) => {
  const { path, catalog } = await opened(t)
  await overwrite(path, pages.get('tag') ?? [], garbage)
  await catalog[Symbol.asyncDispose]()
  const damaged = t.mock.fn()
  await using again = await SqliteCatalog.open(path, { onDamaged: damaged })
  await ask(again)
  assert.equal(damaged.mock.callCount(), 1)
  await assertWorks(again, path)
})

/** Tables from which nothing can be told but from themselves. */
const irreplaceable = ['manifest', 'holding']

for (const [n, name] of everywhere.entries()) {
  const [what, bytes] = n % 3 ? (['garbage', garbage] as const) : (['zeros', nothing] as const)
  const isReadFirst = n % 2 === 0
  const first = isReadFirst ? 'read' : 'written'
  test(`${what} in ${name} while running, first met where it is ${first}: nothing fails, set aside once`, async (t) => {
    const { path, catalog, damaged } = await opened(t)
    await overwrite(path, pages.get(name) ?? assert.fail('has no page'), bytes)
    if (isReadFirst) await ask(catalog)
    await change(catalog)
    await ask(catalog)
    assert.equal(damaged.mock.callCount(), 1)
    if (!irreplaceable.includes(name)) assert.deepEqual(await wholeIn(catalog), numbers)
    await assertWorks(catalog, path)
    assert.equal(damaged.mock.callCount(), 1)
  })
}

for (const name of irreplaceable) {
  test(`one damaged page of ${name}: most of what was pushed here is there afterwards, and all of that whole`, async (t) => {
    const { path, catalog, damaged } = await opened(t)
    const [, second = assert.fail('has one page only')] = pages.get(name) ?? []
    await overwrite(path, [second], garbage)
    await ask(catalog)
    assert.equal(damaged.mock.callCount(), 1)
    const { length } = await wholeIn(catalog)
    assert.ok(length > count / 2, `${length} of ${count}`)
    await assertWorks(catalog, path)
  })
}

for (const what of ['garbage', 'zeros']) {
  test(`${what} in each page of the schema, the first one among them: all that was pushed here is there afterwards`, async (t) => {
    const bytes = what === 'garbage' ? garbage : nothing
    for (const page of pages.get('sqlite_schema') ?? []) {
      const path = join(folder, `schema-${what}-${page}.db`)
      await copyFile(whole, path)
      await overwrite(path, [page], bytes)
      const damaged = t.mock.fn()
      await using catalog = await SqliteCatalog.open(path, { onDamaged: damaged })
      assert.equal(damaged.mock.callCount(), 1, `${page}`)
      assert.deepEqual(await wholeIn(catalog), numbers)
      await assertWorks(catalog, path)
    }
    const left = (await readdir(folder)).filter((name) => name.includes('lent'))
    assert.deepEqual(left, [])
  })
}

test('killed between the steps of a rebuild: the next start finds all that was pushed here', async (t) => {
  const { path, catalog, damaged } = await opened(t)
  await overwrite(path, pages.get('blob_lru') ?? [], garbage)
  await catalog[Symbol.asyncDispose]()
  // While the new one was being filled.
  await writeFile(`${path}.rebuilt`, garbage)
  await writeFile(`${path}.rebuilt-wal`, garbage)
  {
    await using again = await SqliteCatalog.open(path, { onDamaged: damaged })
    await ask(again)
    assert.equal(damaged.mock.callCount(), 1)
    assert.deepEqual(await wholeIn(again), numbers)
  }
  // When the damaged one had been renamed.
  await rename(path, `${path}.rebuilt`)
  await using again = await SqliteCatalog.open(path, { onDamaged: damaged })
  assert.deepEqual(await wholeIn(again), numbers)
  assert.equal(damaged.mock.callCount(), 1)
})

for (const [what, sql] of [
  ['a digest', `UPDATE tag SET digest = x'05' WHERE name = 'v7'`],
  ['a time', 'UPDATE holding SET local_at = 9223372036854775807 WHERE repository = 3'],
  ['a size', 'UPDATE blob SET size = -9223372036854775807 WHERE used_at = 7'],
  ['a schema', 'ALTER TABLE blob RENAME TO glob'],
] as const) {
  test(`${what} that nobody can have written: set aside once, and the rest is there`, async (t) => {
    const { path, catalog, damaged } = await opened(t)
    await catalog[Symbol.asyncDispose]()
    {
      using database = new DatabaseSync(path)
      database.exec(sql)
    }
    await using again = await SqliteCatalog.open(path, { onDamaged: damaged })
    for (let round = 0; round < 2; round += 1) await ask(again)
    assert.equal(damaged.mock.callCount(), 1)
    assert.ok((await wholeIn(again)).length >= count - 1)
    await assertWorks(again, path)
  })
}

test('damaged again and again: the fourth time it is given up, and says so until the next start', async (t) => {
  const { path, catalog, damaged } = await opened(t)
  const questions = {
    tag: () => catalog.tag(localAt(0), tagAt(0)),
    blob: () => catalog.blob(blobOf('layer 0')),
    upload: () => catalog.upload('upload 0'),
    reference: () => catalog.named(localAt(0), blobOf('layer 0')),
  }
  for (const [name, ask] of Object.entries(questions)) {
    await catalog.probe()
    using database = new DatabaseSync(path, { readOnly: true })
    const root = database.prepare('SELECT rootpage FROM sqlite_schema WHERE name = ?').get(name)
    await overwrite(path, [Number(root?.rootpage)], garbage)
    if (name === 'reference') await assert.rejects(ask(), { code: 'CORRUPT' })
    else await ask()
  }
  assert.equal(damaged.mock.callCount(), 3)
  // What an upstream can tell again is a miss; nobody could tell what was pushed.
  assert.equal(await catalog.tag(mirroredAt(0), tagAt(0)), undefined)
  for (const inDoubt of [
    () => catalog.tag(localAt(0), tagAt(0)),
    () => catalog.isPushed(localAt(0)),
    () => catalog.upload('upload 0'),
    () => catalog.listed({ origin: 'local', after: '', limit: 9, part: '', at: 1, refusedAfter: 0 }),
  ])
    await assert.rejects(inDoubt(), { code: 'CORRUPT', message: /look at the disk/ })
  await assert.rejects(catalog.probe(), { code: 'CORRUPT', message: /look at the disk/ })
  await assert.rejects(catalog.gone(blobOf('x')), { code: 'CORRUPT' })
  await using again = await SqliteCatalog.open(path, { onDamaged: damaged })
  await ask(again)
  assert.deepEqual(await wholeIn(again), numbers)
})
