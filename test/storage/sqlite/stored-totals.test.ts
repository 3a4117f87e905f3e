import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { migrate } from '../../../src/storage/sqlite/migrations/migrate.ts'
import { Statements } from '../../../src/storage/sqlite/statements.ts'
import { StoredTotals } from '../../../src/storage/sqlite/stored-totals.ts'
import { sqliteVerbs } from '../../../src/storage/sqlite/verbs.ts'
import { nothingStored } from '../../../src/storage/stored-bytes.ts'
import { app, blobOf, fileOf } from '../catalog-fixtures.ts'

const [blob, other] = [blobOf('blob'), blobOf('other')]

function opened() {
  const database = new DatabaseSync(':memory:')
  migrate(database)
  return { database, statements: new Statements(database), totals: new StoredTotals(database) }
}

test('what is undone was not counted: one verb of a transaction, or all of it', (t) => {
  const { database, statements, totals } = opened()
  t.after(() => database.close())
  database.exec('BEGIN; SAVEPOINT one')
  sqliteVerbs.sealed(statements, blob, fileOf(3), 10)
  database.exec('RELEASE one; SAVEPOINT one')
  sqliteVerbs.pushed(statements, app, blob, fileOf(4), 10)
  sqliteVerbs.sealed(statements, other, fileOf(5), 10)
  database.exec('ROLLBACK TO one; RELEASE one')
  assert.deepEqual(totals.usage, { ...nothingStored, cached: { blobs: 1, bytes: 3 } })
  database.exec('ROLLBACK')
  assert.deepEqual(totals.usage, nothingStored)
})

test('only what has changed is news', (t) => {
  const { database, statements, totals } = opened()
  t.after(() => database.close())
  assert.deepEqual(totals.news, nothingStored)
  assert.equal(totals.news, undefined)
  sqliteVerbs.sealed(statements, blob, fileOf(3), 10)
  assert.deepEqual(totals.news, { ...nothingStored, cached: { blobs: 1, bytes: 3 } })
  sqliteVerbs.used(statements, [blob], 20)
  assert.equal(totals.news, undefined)
})

test('it needs no file of its own, for which a full disk has no room', (t) => {
  const { database } = opened()
  t.after(() => database.close())
  assert.equal(database.prepare('PRAGMA temp_store').get()?.temp_store, 2)
})
