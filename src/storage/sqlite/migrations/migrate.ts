import type { DatabaseSync } from 'node:sqlite'
import { mirror } from './0001-mirror.ts'
import { referrers } from './0002-referrers.ts'
import { publicAskedAt } from './0003-public-asked-at.ts'

/** In order; a landed one never changes. */
const migrations: readonly string[] = [mirror, referrers, publicAskedAt]

/**
 * Brings a catalog to the newest schema, each step in a transaction of its own. Throws where the catalog was
 * written by a later version of the program.
 */
export function migrate(database: DatabaseSync): void {
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version > migrations.length) {
    throw new Error(
      `the catalog has schema ${version}, this program knows ${migrations.length}: start the newer program, or use another folder`,
    )
  }
  for (const [index, statements] of migrations.entries()) {
    if (index < version) continue
    database.exec(`BEGIN; ${statements}; PRAGMA user_version = ${index + 1}; COMMIT`)
  }
}
