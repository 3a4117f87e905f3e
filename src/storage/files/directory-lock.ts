import { rmSync, type Stats, statSync } from 'node:fs'
import { access, constants, mkdir, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import {
  sqliteBusy,
  sqliteCode,
  sqliteCorrupt,
  sqliteFull,
  sqliteNotADatabase,
} from '../sqlite/sqlite-errors.ts'
import { assertPlaces } from './data-folder.ts'

/**
 * Makes sure that one process uses `directory`. The lock is SQLite's own write lock on `<directory>/lock`: the
 * kernel lets go of it when the process ends, however it ends, and it works between containers too, where a
 * file with a process id would lie. Throws an Error with the code LOCKED that names the holder, MisplacedError, and the
 * file system's error (EACCES, EROFS) where the folder cannot be written to.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  try {
    await makeFolder(directory)
  } catch (error) {
    // It speaks of the first folder above that could not be made; the advice is about the one that was asked for.
    throw Object.assign(error as Error, { folder: directory })
  }
  // SQLite would say "unable to open database file", and neither which nor why.
  await access(directory, constants.R_OK | constants.W_OK | constants.X_OK)
  await assertPlaces(directory)
  return new DirectoryLock(directory)
}

/** A lock that is held. Dispose to let go. */
export class DirectoryLock implements Disposable {
  readonly #directory: string
  #held: HeldLock

  /** See `lockDirectory`. */
  constructor(directory: string) {
    this.#directory = directory
    this.#held = takeLock(directory)
  }

  /**
   * Takes it anew where its file was removed or replaced: what is locked then has no name any more, and keeps nobody
   * away. Throws an Error with the code LOCKED where another process was faster.
   */
  renew(): void {
    if (isSame(this.#held.file, fileAt(this.#directory))) return
    const before = this.#held
    this.#held = takeLock(this.#directory)
    before.database.close()
  }

  [Symbol.dispose](): void {
    this.#held.database.close()
  }
}

interface HeldLock {
  readonly database: DatabaseSync
  readonly file: Stats | undefined
}

/** With those above it. Node's own `recursive` goes round for ever where a file system takes no folders (/proc). */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' && !(await isFolder(dirname(path)))) {
      await makeFolder(dirname(path))
      await mkdir(path)
      // A read-only disk says so first, whether or not the folder is there already.
    } else if (!(await isFolder(path))) throw error
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch {
    return false
  }
}

function takeLock(directory: string): HeldLock {
  try {
    return takeLockOf(directory)
  } catch (error) {
    if (!isDamaged(error)) throw error
    // It holds nothing of value, and what is no database holds no lock either.
    rmSync(pathOf(directory), { force: true })
    return takeLockOf(directory)
  }
}

function takeLockOf(directory: string): HeldLock {
  const path = pathOf(directory)
  const database = new DatabaseSync(path, { timeout: 0 })
  try {
    nameHolder(database)
    database.exec('BEGIN IMMEDIATE')
  } catch (error) {
    const holder = readHolder(database)
    database.close()
    if (!isBusy(error)) throw error
    const message = `${directory} is in use by ${holder}: stop that one first, or set storage.dir to another folder`
    throw Object.assign(new Error(message, { cause: error }), { code: 'LOCKED' })
  }
  return { database, file: fileAt(directory) }
}

function pathOf(directory: string): string {
  return join(directory, 'lock')
}

function fileAt(directory: string): Stats | undefined {
  return statSync(pathOf(directory), { throwIfNoEntry: false })
}

function isSame(one: Stats | undefined, other: Stats | undefined): boolean {
  return one !== undefined && one.dev === other?.dev && one.ino === other.ino
}

/** Commits who it is, so that another process can read it while the lock is held. A full disk is no obstacle. */
function nameHolder(database: DatabaseSync): void {
  try {
    // Without a file for its journal, for which a full disk may have no room: what is torn by a power cut is replaced.
    database.exec('PRAGMA journal_mode = MEMORY')
    database.exec('CREATE TABLE IF NOT EXISTS holder (process TEXT NOT NULL)')
    database.exec('BEGIN IMMEDIATE; DELETE FROM holder')
    // It is ours: whoever is just reading the name of the holder is worth a moment, and no refusal.
    database.exec('PRAGMA busy_timeout = 1000')
    database.prepare('INSERT INTO holder VALUES (?)').run(`process ${process.pid} on ${hostname()}`)
    database.exec('COMMIT')
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    if (sqliteCode(error) !== sqliteFull) throw error
  }
}

/** Another connection holds the lock. */
function isBusy(error: unknown): boolean {
  return sqliteCode(error) === sqliteBusy
}

function isDamaged(error: unknown): boolean {
  const code = sqliteCode(error)
  return code === sqliteCorrupt || code === sqliteNotADatabase
}

function readHolder(database: DatabaseSync): string {
  try {
    return String(database.prepare('SELECT process FROM holder').get()?.process ?? 'another process')
  } catch {
    return 'another process'
  }
}
