import { statfsSync, statSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'

/**
 * Brings what the journal of a catalog holds to the catalog, and cuts it to nothing, where the disk has room for what
 * the catalog grows thereby: half-way it would have eaten that room, and have given none back. `path`: of the
 * catalog. Returns whether the journal has given room
 * back. Never throws.
 */
export function checkpointIfRoom(database: DatabaseSync, path: string): boolean {
  const pages = 'SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size'
  try {
    if (statSync(`${path}-wal`).size === 0) return false
    const growth = Number(database.prepare(pages).get()?.bytes) - statSync(path).size
    const { bavail, bsize } = statfsSync(path)
    if (growth > bavail * bsize) return false
    const [row] = database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').all()
    return row?.busy === 0
  } catch {
    // Others have taken the room meanwhile, or the files. What is committed is in the journal.
    return false
  }
}
