import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { databaseLocation } from './database-location.ts'
import { isDamage, sqliteBusy, sqliteCode } from './sqlite-errors.ts'

/** Milliseconds to wait for the other connection of this process. */
const timeout = 10_000

/**
 * Opens the file of the catalog, made where it is missing: what is committed is synced, and a page whose cells make no
 * sense is found when it is read, not when it has been followed.
 */
export function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(databaseLocation(path), { timeout, enableForeignKeyConstraints: false })
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON')
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

/**
 * Makes sure that nobody has the catalog at `path` open, whatever became of the lock of its folder. Throws an Error with
 * the code LOCKED.
 */
export function assertUnused(path: string): void {
  if (!existsSync(path)) return
  using database = new DatabaseSync(databaseLocation(path), {
    timeout: 0,
    enableForeignKeyConstraints: false,
  })
  try {
    // Each connection in WAL mode holds a shared lock on the file from its first read to its end.
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; ROLLBACK')
  } catch (error) {
    if (isDamage(error)) return
    if (sqliteCode(error) !== sqliteBusy) throw error
    const message = `another process has ${path} open: stop that one first, or set storage.dir to another folder`
    throw Object.assign(new Error(message, { cause: error }), { code: 'LOCKED' })
  }
}
