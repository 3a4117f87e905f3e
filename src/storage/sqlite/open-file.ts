import type { DatabaseSync } from 'node:sqlite'
import { FilesInPlace } from './files-in-place.ts'
import { migrate, newestVersion } from './migrations/migrate.ts'
import { openDatabase } from './open-database.ts'
import { OpenMark } from './open-mark.ts'
import { isDamage } from './sqlite-errors.ts'
import { Statements } from './statements.ts'
import { type CatalogBeside, WriterThread } from './writer-thread.ts'

/** Both connections to one file. */
export interface OpenFile {
  readonly database: DatabaseSync
  readonly statements: Statements
  readonly writer: WriterThread
  readonly files: FilesInPlace
}

/** Who is told of how a catalog was opened. */
export interface OpeningListeners {
  /** There was none. */
  readonly onMade?: (() => void) | undefined
  /** It was brought from an older schema to the newest one, in so many milliseconds. */
  readonly onMigrated?: ((from: number, ms: number) => void) | undefined
}

/**
 * Opens the catalog at `path`, made where it is missing, with the newest schema. On a full disk the reserve is given up for
 * that. Throws what SQLite and the file system say.
 */
export async function openFile(
  path: string,
  listeners: OpeningListeners,
  beside: CatalogBeside,
): Promise<OpenFile> {
  try {
    return await open(path, listeners, beside)
  } catch (error) {
    // Without room for its journal not even deletes would help.
    if (isDamage(error) || !beside.reserve?.giveUpIfNeeded()) throw error
    return open(path, listeners, beside)
  }
}

async function open(
  path: string,
  { onMade, onMigrated }: OpeningListeners,
  beside: CatalogBeside,
): Promise<OpenFile> {
  const database = openDatabase(path)
  try {
    new OpenMark(path).set()
    const startedAt = performance.now()
    const version = migrate(database)
    const statements = new Statements(database)
    statements.prepareAll()
    const writer = await WriterThread.start({ path }, beside)
    if (version === 0) onMade?.()
    else if (version < newestVersion) onMigrated?.(version, performance.now() - startedAt)
    return { database, statements, writer, files: new FilesInPlace(path) }
  } catch (error) {
    database.close()
    throw error
  }
}
