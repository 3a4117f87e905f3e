import { existsSync } from 'node:fs'
import { copyFile, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { backup, type DatabaseSync } from 'node:sqlite'
import { databaseLocation } from './database-location.ts'
import type { FilesInPlace } from './files-in-place.ts'
import { type CatalogBeside, WriterThread } from './writer-thread.ts'

/** Of 4 KiB, of a copy. */
const pagesAtOnce = 1000

/**
 * Puts a new catalog, with what can still be read of it, in the place of a damaged one that nobody has open. Returns the
 * name under which that one is kept.
 *
 * Whatever the moment of a kill, what was there is there: 1. the new one is filled under another name: the damaged one
 * is still found, and the next start begins again; 2. the damaged one is renamed: `finishRebuild` does the rest; 3. the
 * new one has its place.
 */
export async function rebuild(
  path: string,
  beside: CatalogBeside = {},
  why: 'damaged' | 'before-rebuild' = 'damaged',
): Promise<string> {
  await removeUnfinished(path)
  const writer = await WriterThread.start(
    { path: rebuiltPath(path), damagedPath: path },
    { pushed: beside.pushed },
  )
  await writer[Symbol.asyncDispose]()
  const keptAs = `${path}.${why}-${now()}`
  // A journal goes before its catalog: beside a new one of the old name it would be taken for that one's.
  await rm(`${path}-shm`, { force: true })
  await renameIfThere(`${path}-wal`, `${keptAs}-wal`)
  await rename(path, keptAs)
  await finishRebuild(path)
  return keptAs
}

/**
 * Writes down anew, under its name, a catalog whose file was removed or replaced while it is open; `database` is the only
 * connection to it, and is closed. Returns the name under which is kept what lies there in its place, if anything.
 *
 * 1. SQLite still reads the file, which has no name any more: all of it is copied; 2. what has its name goes aside; 3. the
 * connection is closed, which removes by name whatever journal lies there: hence before 4. the copy has its place.
 */
export async function putBack(
  path: string,
  database: DatabaseSync,
  files: FilesInPlace,
): Promise<string | undefined> {
  await removeUnfinished(path)
  await backup(database, databaseLocation(rebuiltPath(path)), { rate: pagesAtOnce })
  let keptAs: string | undefined
  if (!files.isCatalogThere && existsSync(path)) {
    keptAs = `${path}.replaced-${now()}`
    await renameIfThere(`${path}-wal`, `${keptAs}-wal`)
    await rename(path, keptAs)
  }
  database.close()
  for (const ending of ['-wal', '-shm']) await rm(path + ending, { force: true })
  await finishRebuild(path)
  return keptAs
}

/**
 * Somebody has written another catalog into the file of one that is open: it becomes that one, without the journal, which goes
 * on from what is not there any more. `database` is the only connection to it, and is closed.
 */
export async function takeOverwritten(path: string, database: DatabaseSync): Promise<void> {
  await removeUnfinished(path)
  // A copy: to close the last connection brings the journal to the file that it has open.
  await copyFile(path, rebuiltPath(path))
  const copy = await open(rebuiltPath(path))
  await copy.sync().finally(() => copy.close())
  for (const ending of ['-wal', '-shm']) await rm(path + ending, { force: true })
  await finishRebuild(path)
  database.close()
}

/** Gives a new catalog that is whole the place that it was made for, if it has not got it. */
export async function finishRebuild(path: string): Promise<void> {
  const folder = await open(dirname(path))
  try {
    await renameIfThere(rebuiltPath(path), path)
    await folder.sync()
  } finally {
    await folder.close()
  }
}

function rebuiltPath(path: string): string {
  return `${path}.rebuilt`
}

/** Removes what a kill left of a new catalog: it would be taken for the right one where that is missing some day. */
export async function removeUnfinished(path: string): Promise<void> {
  for (const file of [rebuiltPath(path), `${rebuiltPath(path)}-lent`]) {
    for (const ending of ['', '-wal', '-shm', '-journal']) await rm(file + ending, { force: true })
  }
}

/** As a part of a file's name. */
function now(): string {
  return new Date().toISOString().replaceAll(':', '')
}

async function renameIfThere(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}
