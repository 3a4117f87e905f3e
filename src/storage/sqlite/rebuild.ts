import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { WriterThread } from './writer-thread.ts'

/**
 * Puts a new catalog, with what can still be read of it, in the place of a damaged one that nobody has open. Returns the
 * name under which that one is kept.
 *
 * Whatever the moment of a kill, what was there is there: 1. the new one is filled under another name: the damaged one
 * is still found, and the next start begins again; 2. the damaged one is renamed: `finishRebuild` does the rest; 3. the
 * new one has its place.
 */
export async function rebuild(path: string): Promise<string> {
  await remove(rebuiltPath(path))
  await (await WriterThread.start({ path: rebuiltPath(path), damagedPath: path }))[Symbol.asyncDispose]()
  const keptAs = `${path}.damaged-${new Date().toISOString().replaceAll(':', '')}`
  // A journal goes before its catalog: beside a new one of the old name it would be taken for that one's.
  await rm(`${path}-shm`, { force: true })
  await renameIfThere(`${path}-wal`, `${keptAs}-wal`)
  await rename(path, keptAs)
  await finishRebuild(path)
  return keptAs
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

async function remove(path: string): Promise<void> {
  for (const ending of ['', '-wal', '-shm', '-journal']) await rm(path + ending, { force: true })
}

async function renameIfThere(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}
