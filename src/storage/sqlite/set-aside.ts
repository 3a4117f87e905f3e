import { rename, rm } from 'node:fs/promises'

/**
 * Keeps a damaged catalog that nobody has open under another name, which is returned. Its journal goes first, and with
 * it: beside a new catalog of the old name it would be taken for that one's.
 */
export async function setAside(path: string): Promise<string> {
  const keptAs = `${path}.damaged-${new Date().toISOString().replaceAll(':', '')}`
  await rm(`${path}-shm`, { force: true })
  await rename(`${path}-wal`, `${keptAs}-wal`).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  await rename(path, keptAs)
  return keptAs
}
