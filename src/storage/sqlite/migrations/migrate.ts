import type { DatabaseSync } from 'node:sqlite'
import { NewerDataError } from '../../error.ts'
import { mirror } from './0001-mirror.ts'
import { referrers } from './0002-referrers.ts'
import { publicAskedAt } from './0003-public-asked-at.ts'
import { evidence } from './0004-evidence.ts'
import { pushedManifests } from './0005-pushed-manifests.ts'
import { collection } from './0006-collection.ts'
import { keeping } from './0007-keeping.ts'
import { wishes } from './0008-wishes.ts'

/** Statements, or a function where what is stored has to be read. */
type Migration = string | ((database: DatabaseSync) => void)

/** In order; a landed one never changes. */
const migrations: readonly Migration[] = [
  mirror,
  referrers,
  publicAskedAt,
  evidence,
  pushedManifests,
  collection,
  keeping,
  wishes,
]

/** The newest schema. */
export const newestVersion = migrations.length

/**
 * Brings a catalog to the newest schema, each step in a transaction of its own: after a kill in the middle the one
 * before is there. Returns the schema that it had, 0 for a new one. Throws NewerDataError where the catalog was written by
 * a later version of the program.
 */
export function migrate(database: DatabaseSync): number {
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version > newestVersion) {
    throw new NewerDataError(`the catalog has schema ${version}, this program knows ${newestVersion}`)
  }
  for (const [index, migration] of migrations.entries()) {
    if (index < version) continue
    database.exec('BEGIN IMMEDIATE')
    try {
      if (typeof migration === 'string') database.exec(migration)
      else migration(database)
      database.exec(`PRAGMA user_version = ${index + 1}; COMMIT`)
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK')
      throw error
    }
  }
  return version
}
