import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { migrate } from '../../../src/storage/sqlite/migrations/migrate.ts'
import { type StatementName, sqlOf, walks } from '../../../src/storage/sqlite/statements.ts'

/** They answer with what a bounded search inside them finds. */
const boundedInside: readonly StatementName[] = [
  'isFree',
  'listed',
  'tags',
  'closureOf',
  'pinClosure',
  'keepClosure',
  'pinnedNamer',
  'settleKeptOf',
]

/** Of what a repository has they look at the first, or at all. */
const wholeRepository: readonly StatementName[] = ['listed']

/** How SQLite goes about a statement, a line a step. */
function planOf(database: DatabaseSync, name: StatementName): string[] {
  const rows = database.prepare(`EXPLAIN QUERY PLAN ${sqlOf[name]}`).all()
  return rows.map(({ detail }) => String(detail))
}

test('every statement is a search by a key or an index, in the order of that index', () => {
  using database = new DatabaseSync(':memory:')
  migrate(database)
  const slow: string[] = []
  for (const name of Object.keys(sqlOf) as StatementName[]) {
    for (const step of planOf(database, name)) {
      const isBounded =
        boundedInside.includes(name) && /^SCAN (\(subquery-\d+\)|closure|json_each .*)$/.test(step)
      if (/^SCAN (?!CONSTANT ROW)|TEMP B-TREE|AUTOMATIC/.test(step) && !isBounded && !walks.includes(name)) {
        slow.push(`${name}: ${step}`)
      }
      // By the first column of a longer key, where a better index is there.
      const isWhole = /USING PRIMARY KEY \(repository=\?\)$/.test(step)
      if (isWhole && !wholeRepository.includes(name)) slow.push(`${name}: ${step}`)
    }
  }
  assert.deepEqual(slow, [])
})

test('what is known to walk does', () => {
  using database = new DatabaseSync(':memory:')
  migrate(database)
  for (const name of walks) assert.match(planOf(database, name).join(), /SCAN/)
})

test('a migration that fails is told, and what was there stays', () => {
  using database = new DatabaseSync(':memory:')
  migrate(database)
  database.exec('PRAGMA user_version = 1')
  assert.throws(() => migrate(database), /table referrers already exists/)
  assert.equal(database.isTransaction, false)
  assert.equal(database.prepare('PRAGMA user_version').get()?.user_version, 1)
})
