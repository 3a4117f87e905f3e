import { DatabaseSync } from 'node:sqlite'

/** Milliseconds to wait for the other connection of this process. */
const timeout = 10_000

/**
 * Opens the file of the catalog, made where it is missing: what is committed is synced, and a page whose cells make no
 * sense is found when it is read, not when it has been followed.
 */
export function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(path, { timeout, enableForeignKeyConstraints: false })
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON')
    return database
  } catch (error) {
    database.close()
    throw error
  }
}
