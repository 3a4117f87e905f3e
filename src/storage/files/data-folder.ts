import { access, constants, lstat, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { MisplacedError } from '../error.ts'
import { absentIfMissing } from './file-errors.ts'

/** What lies in a data folder under a fixed name. */
const places = {
  VERSION: 'file',
  lock: 'file',
  reserve: 'file',
  'catalog.db': 'file',
  'catalog.db-wal': 'file',
  'catalog.db-shm': 'file',
  'catalog.db.open': 'file',
  'pushed.journal': 'file',
  blobs: 'folder',
  partial: 'folder',
  upload: 'folder',
  quarantine: 'folder',
  'token.key': 'file',
} as const
/** What is made anew where this user may not use it. */
const replaced: readonly string[] = ['token.key']

/**
 * Makes sure that nothing else has the place of what a data folder consists of: SQLite says of it that it is "unable to
 * open database file", and a pipe is waited for without end. What lies below `blobs` is only looked at as far as this user may
 * use it. Throws MisplacedError, and the file system's own error
 * (EACCES) where something is there that this user may not use. What is missing is made later.
 */
export async function assertPlaces(directory: string): Promise<void> {
  for (const [name, expected] of Object.entries(places)) {
    const path = join(directory, name)
    if (!(await absentIfMissing(lstat(path)))) continue
    const found = await absentIfMissing(stat(path))
    // Made by whoever writes to it, it would lie where nobody looks for it once what it leads to is mounted.
    if (!found) throw new MisplacedError(`${path} is a link that leads nowhere`)
    const isRight = expected === 'file' ? found.isFile() : found.isDirectory()
    if (!isRight) throw new MisplacedError(`${path} has to be a ${expected}, and is something else`)
    if (replaced.includes(name)) continue
    const { R_OK, W_OK, X_OK } = constants
    await access(path, expected === 'file' ? R_OK | W_OK : R_OK | W_OK | X_OK)
  }
  await assertUsable(join(directory, 'blobs'), 2)
}

/** What is a folder below `folder`, so many levels deep. */
async function assertUsable(folder: string, levels: number): Promise<void> {
  const entries = (await absentIfMissing(readdir(folder, { withFileTypes: true }))) ?? []
  const below = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name))
  const { R_OK, W_OK, X_OK } = constants
  await Promise.all(below.map((path) => access(path, R_OK | W_OK | X_OK)))
  if (levels > 1) for (const path of below) await assertUsable(path, levels - 1)
}
