// An older catalog is written into the file of the one that is open, or put back beside the journal of a newer one. Thought
// of: met by a verb, by a question whether it is well, by the end, by a kill; a file that is only touched; one that is
// half written; what was deleted since; the journal of what was pushed, written anew from it.
import assert from 'node:assert/strict'
import { copyFileSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, utimesSync } from 'node:fs'
import { truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { FoundJournal } from '../../../src/storage/sqlite/pushed/open-both.ts'
import { SqliteCatalog } from '../../../src/storage/sqlite/sqlite-catalog.ts'
import { manifestOf } from '../catalog-fixtures.ts'
import { storageFolder } from '../files/storage-folder.ts'
import { localAt, manifestAt, record, tagAt } from './everything.ts'

/** A folder whose catalog knows the first ones, with a copy of it; then the next ones came, each in a run of its own. */
async function lived(t: TestContext) {
  const folder = await storageFolder(t)
  const path = join(folder, 'catalog.db')
  const older = join(folder, 'older.db')
  const told = { onOverwritten: t.mock.fn(), onForeignJournal: t.mock.fn(), onDamaged: t.mock.fn() }
  const found: FoundJournal[] = []
  const troubles: unknown[] = []
  const pushed = { path: join(folder, 'pushed.journal'), onFound: (one: FoundJournal) => found.push(one) }
  const onTrouble = (why: string | undefined) => troubles.push(why)
  const open = () => SqliteCatalog.open(path, told, { pushed: { ...pushed, onTrouble } })
  let catalog = await open()
  for (const n of [0, 1]) await record(catalog, n)
  await catalog[Symbol.asyncDispose]()
  copyFileSync(path, older)
  for (const numbers of [[2, 3, 4, 5, 6, 7], [8]]) {
    catalog = await open()
    for (const n of numbers) await record(catalog, n)
    if (numbers.length > 1) await catalog.deleteManifest(localAt(1), manifestAt(1).digest, 1)
    await catalog[Symbol.asyncDispose]()
  }
  // It is there, and whole, from the first start on.
  assert.deepEqual(troubles, [])
  return { folder, path, older, told, found, pushed, open, overwrite: () => copyFileSync(older, path) }
}

async function assertThere(catalog: SqliteCatalog, numbers: readonly number[]): Promise<void> {
  assert.equal(await catalog.tag(localAt(1), tagAt(1)), undefined, 'it was deleted')
  for (const n of numbers) {
    assert.ok(await catalog.tag(localAt(n), tagAt(n)), `${n} is lost`)
    assert.ok(await catalog.manifest(localAt(n), manifestAt(n).digest), `the manifest of ${n} is lost`)
  }
}

const all = [0, 2, 3, 4, 5, 6, 7, 8]

for (const isWritten of [true, false]) {
  const when = isWritten ? 'after something was committed' : 'before anything was committed'
  test(`written over ${when}: told before the next change is acknowledged, and all is there`, async (t) => {
    const { told, open, overwrite } = await lived(t)
    const catalog = await open()
    if (isWritten) await record(catalog, 9)
    overwrite()
    await record(catalog, 10)
    assert.equal(told.onOverwritten.mock.callCount(), 1)
    await assertThere(catalog, [...all, ...(isWritten ? [9] : []), 10])
    await catalog[Symbol.asyncDispose]()
    await using again = await open()
    await assertThere(again, [...all, ...(isWritten ? [9] : []), 10])
    assert.equal(told.onDamaged.mock.callCount(), 0)
  })
}

test('written over, and asked whether it is well: told, and all is there', async (t) => {
  const { told, open, overwrite } = await lived(t)
  await using catalog = await open()
  overwrite()
  await catalog.probe()
  assert.equal(told.onOverwritten.mock.callCount(), 1)
  await assertThere(catalog, all)
})

test('written over, and stopped: told at the end, and the next start has all', async (t) => {
  const { told, open, overwrite } = await lived(t)
  const catalog = await open()
  await record(catalog, 9)
  overwrite()
  await catalog[Symbol.asyncDispose]()
  assert.equal(told.onOverwritten.mock.callCount(), 1)
  await using again = await open()
  await assertThere(again, [...all, 9])
})

test('written over behind a checkpoint, when nothing of it is in the journal any more', async (t) => {
  const { told, open, overwrite } = await lived(t)
  await using catalog = await open()
  // SQLite brings the journal to the file every 1000 pages.
  const bytes = (n: number) => manifestOf(JSON.stringify({ fill: `${n}`.repeat(2_000_000) }))
  for (const n of [1, 2, 3]) {
    await catalog.putManifest(localAt(0), bytes(n), { references: [], tags: [], at: n })
  }
  overwrite()
  await record(catalog, 9)
  assert.equal(told.onOverwritten.mock.callCount(), 1)
  await assertThere(catalog, [...all, 9])
  assert.ok(await catalog.manifest(localAt(0), bytes(3).digest))
})

test('half of another one is in the file: what was pushed is there', async (t) => {
  const { path, open, overwrite } = await lived(t)
  const catalog = await open()
  overwrite()
  await truncate(path, 8192)
  await record(catalog, 9)
  for (const n of [...all, 9]) assert.ok(await catalog.tag(localAt(n), tagAt(n)), `${n} is lost`)
  await catalog[Symbol.asyncDispose]()
})

test('only touched, also again and again: nothing is told', async (t) => {
  const { path, told, open } = await lived(t)
  const catalog = await open()
  for (const n of [9, 10, 11]) {
    utimesSync(path, n, n)
    await catalog.probe()
    await record(catalog, n)
  }
  await catalog[Symbol.asyncDispose]()
  await using again = await open()
  await assertThere(again, [...all, 9, 10, 11])
  for (const listener of Object.values(told)) assert.equal(listener.mock.callCount(), 0)
})

/** What a kill leaves of a folder. */
function killed(folder: string, to: string): void {
  for (const name of readdirSync(folder)) {
    if (!name.endsWith('-shm') && /^(catalog|pushed)/.test(name))
      copyFileSync(join(folder, name), join(to, name))
  }
}

test('put back beside the journal of a newer one: that is set aside, and all is there', async (t) => {
  const { folder, older, told, found, open } = await lived(t)
  const to = await storageFolder(t)
  const catalog = await open()
  await record(catalog, 9)
  killed(folder, to)
  await catalog[Symbol.asyncDispose]()
  copyFileSync(older, join(to, 'catalog.db'))
  const pushed = { path: join(to, 'pushed.journal'), onFound: (one: FoundJournal) => found.push(one) }
  await using again = await SqliteCatalog.open(join(to, 'catalog.db'), told, { pushed })
  await assertThere(again, [...all, 9])
  assert.equal(told.onForeignJournal.mock.callCount(), 1)
  assert.ok(found[0]?.replayed)
  assert.ok(readdirSync(to).some((name) => name.startsWith('catalog.db-wal.replaced-')))
})

test('killed at any time with its own journal: nothing is set aside', async (t) => {
  const { folder, told, open } = await lived(t)
  const catalog = await open()
  for (const n of Array.from({ length: 12 }, (_, n) => n + 9)) {
    await record(catalog, n)
    const fill = manifestOf(JSON.stringify({ fill: `${n}`.repeat(400_000) }))
    await catalog.putManifest(localAt(0), fill, { references: [], tags: [], at: n })
    const to = await storageFolder(t)
    killed(folder, to)
    const pushed = { path: join(to, 'pushed.journal') }
    const again = await SqliteCatalog.open(join(to, 'catalog.db'), told, { pushed })
    await assertThere(again, [...all, n])
    await again[Symbol.asyncDispose]()
  }
  await catalog[Symbol.asyncDispose]()
  for (const listener of Object.values(told)) assert.equal(listener.mock.callCount(), 0)
})

test('the journal of what was pushed is not written anew from a catalog that was written over', async (t) => {
  const { open, overwrite, pushed } = await lived(t)
  const catalog = await open()
  await record(catalog, 9)
  overwrite()
  // It has to be written anew at the end.
  await writeFile(pushed.path, readFileSync(pushed.path).subarray(0, -1))
  await catalog[Symbol.asyncDispose]()
  await using again = await open()
  await assertThere(again, all)
})

for (const left of [0, 100, 0.5, 0.9]) {
  test(`no catalog, and ${left} of the journal of what was pushed: told that not all can be read`, async (t) => {
    const { path, found, open, pushed } = await lived(t)
    const { size } = statSync(pushed.path)
    truncateSync(pushed.path, left < 1 ? Math.floor(size * left) : left)
    rmSync(path)
    await using _catalog = await open()
    assert.ok(Number(found[0]?.replayed?.unreadable) > 0)
  })
}
