import { DatabaseSync } from 'node:sqlite'
import type { Catalog } from '../../src/storage/catalog.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { migrate } from '../../src/storage/sqlite/migrations/migrate.ts'
import { sqliteReads } from '../../src/storage/sqlite/reads.ts'
import { Statements } from '../../src/storage/sqlite/statements.ts'
import { StoredTotals } from '../../src/storage/sqlite/stored-totals.ts'
import { sqliteVerbs } from '../../src/storage/sqlite/verbs.ts'

/** Opens an empty catalog for each play. */
export type OpenCatalog = () => Catalog

/** Both catalogs, by the verbs that the program runs. Each verb happens at once, as in the writer of a real one. */
export const catalogs: Readonly<Record<string, () => OpenCatalog>> = {
  memory: () => () => new MemoryCatalog(),
  SQLite: () => {
    const database = new DatabaseSync(':memory:')
    migrate(database)
    const statements = new Statements(database)
    const totals = new StoredTotals(database)
    return () => {
      // What the play before left goes with its transaction: sooner done than a new file.
      if (database.isTransaction) database.exec('ROLLBACK')
      database.exec('BEGIN')
      return over(statements, totals)
    }
  },
}

function over(statements: Statements, totals: StoredTotals): Catalog {
  const asked: Record<string, (statements: Statements, ...parameters: never[]) => unknown> = {
    ...sqliteReads,
    ...sqliteVerbs,
  }
  const entries = Object.entries(asked).map(([name, run]) => [
    name,
    async (...parameters: never[]) => run(statements, ...parameters),
  ])
  return {
    ...Object.fromEntries(entries),
    usage: async () => totals.usage,
    [Symbol.asyncDispose]: async () => {},
  }
}
