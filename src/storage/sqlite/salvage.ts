import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { DatabaseSync, type SQLOutputValue, type StatementSync } from 'node:sqlite'
import { StorageError } from '../error.ts'
import { localOrigin } from '../repository-key.ts'
import { databaseLocation } from './database-location.ts'
import { digestFromBytes } from './digest-bytes.ts'
import { lendSchema } from './lent-schema.ts'
import { addReferences } from './named-by.ts'
import { pinEverything } from './pinned.ts'
import { DamagedRecord, isDamage, isRefusedValue } from './sqlite-errors.ts'
import { Statements } from './statements.ts'

/** Bytes. */
const pieceSize = 64 * 1024

/** Rows of a table and the order in which they lie in it, or in an index that has the same once more. */
interface Rows {
  readonly table: string
  readonly columns: string
  readonly order: string
}

const refused = `iif(origin = '${localOrigin}', NULL, 0) AS refused_since`

/**
 * What is taken over, each table before the index that may have what it lost: of a repository whether it was refused
 * is then not known, and so it was; of a tag not when it was checked. What referred to a manifest is asked again.
 */
const salvaged: readonly Rows[] = [
  { table: 'repository', columns: '*', order: 'rowid' },
  { table: 'repository', columns: `id, origin, name, ${refused}`, order: 'origin, name' },
  { table: 'manifest', columns: '*', order: 'rowid' },
  { table: 'holding', columns: '*', order: 'repository, digest' },
  { table: 'reference', columns: '*', order: 'repository, target, kind, manifest' },
  { table: 'tag', columns: '*', order: 'repository, name' },
  { table: 'tag', columns: 'repository, name, digest, 0 AS checked_at', order: 'repository, digest' },
  { table: 'tag_move', columns: '*', order: 'repository, name, moved_at' },
  { table: 'blob', columns: '*', order: 'digest' },
  { table: 'upload', columns: '*', order: 'id' },
  { table: 'pin', columns: '*', order: 'origin, repository, tag' },
  { table: 'fact', columns: '*', order: 'name' },
  { table: 'wish', columns: '*', order: 'origin, repository, reference, kind' },
]

/**
 * Copies what can still be read of a damaged catalog into a new one, in one transaction. A
 * table is read from its beginning to the damage, then from its end; of two rows of one key the first counts. What is
 * left is made to agree: what was pushed here is nowhere else, so that what can be told from something else is told from
 * it, and what points at nothing goes.
 */
export function salvage(database: DatabaseSync, damagedPath: string): void {
  database.exec('BEGIN IMMEDIATE')
  try {
    copyAll(database, damagedPath)
    assertReadable(damagedPath)
    mend(database)
    database.exec('COMMIT')
  } catch (error) {
    database.exec('ROLLBACK')
    throw error
  }
}

/**
 * SQLite calls a page damaged that the disk does not give. Throws where that is true of most of them: a disk that gives
 * nothing may give it again another day, when it is plugged in well.
 */
function assertReadable(path: string): void {
  const file = openSync(path, 'r')
  try {
    const { size } = fstatSync(file)
    const piece = Buffer.alloc(pieceSize)
    let missing = 0
    for (let at = 0; at < size; at += pieceSize) {
      try {
        readSync(file, piece, 0, pieceSize, at)
      } catch {
        missing += 1
      }
    }
    if (missing * pieceSize > size / 2) throw new StorageError('BROKEN', 'the disk does not give the catalog')
  } finally {
    closeSync(file)
  }
}

function copyAll(database: DatabaseSync, damagedPath: string): void {
  if (copyFrom(database, damagedPath)) return
  using lent = lendSchema(damagedPath)
  copyFrom(database, lent.path)
}

/** False where the schema cannot be read. */
function copyFrom(database: DatabaseSync, damagedPath: string): boolean {
  try {
    using damaged = new DatabaseSync(databaseLocation(damagedPath), {
      enableForeignKeyConstraints: false,
      readBigInts: true,
    })
    damaged.prepare('SELECT count(*) FROM sqlite_schema').get()
    if (versionOf(damaged) !== versionOf(database)) return true
    for (const rows of salvaged) copy(damaged, database, rows)
    return true
  } catch (error) {
    if (!isDamage(error)) throw error
    return false
  }
}

function versionOf(database: DatabaseSync): number {
  return Number(database.prepare('PRAGMA user_version').get()?.user_version)
}

function copy(damaged: DatabaseSync, database: DatabaseSync, { table, columns, order }: Rows): void {
  const places = database
    .prepare(`PRAGMA table_info(${table})`)
    .all()
    .map(() => '?')
  const add = database.prepare(`INSERT OR IGNORE INTO ${table} VALUES (${places.join()})`)
  const backwards = `${order.replaceAll(',', ' DESC,')} DESC`
  // Each way once more: what was damaged may have been a page that the disk did not give for a moment.
  for (const inOrder of [order, order, backwards, backwards]) {
    const rows = prepared(damaged, `SELECT ${columns} FROM ${table} ORDER BY ${inOrder}`)
    try {
      for (const row of rows?.iterate() ?? []) addRow(add, row)
      return
    } catch (error) {
      if (!isDamage(error)) throw error
    }
  }
}

/** Undefined where the schema is so damaged that there is no such table. */
function prepared(damaged: DatabaseSync, sql: string): StatementSync | undefined {
  try {
    return damaged.prepare(sql)
  } catch {
    return undefined
  }
}

/** A row that nobody can have written is left out. */
function addRow(add: StatementSync, row: Record<string, SQLOutputValue>): void {
  try {
    for (const [column, value] of Object.entries(row)) assertWritten(column, value)
    add.run(...Object.values(row))
  } catch (error) {
    if (!isRefusedValue(error) && !isDamage(error)) throw error
  }
}

/** Columns that hold digests, in whatever table. */
const digests: ReadonlySet<string> = new Set(['digest', 'target', 'manifest', 'subject'])

function assertWritten(column: string, value: SQLOutputValue): void {
  if (digests.has(column)) digestFromBytes(value)
  if (typeof value === 'bigint' && !Number.isSafeInteger(Number(value))) {
    throw new DamagedRecord(`${column} of a row in the catalog is too large`)
  }
}

const isKnown = 'repository IN (SELECT id FROM repository)'
const isLocal = `reference.repository IN (SELECT id FROM repository WHERE origin = '${localOrigin}')`
const isNeeded = `EXISTS (SELECT 1 FROM reference
  WHERE reference.repository = holding.repository AND target = holding.digest AND kind <> 'subject')`

function mend(database: DatabaseSync): void {
  for (const table of ['holding', 'reference', 'tag', 'tag_move']) {
    database.exec(`DELETE FROM ${table} WHERE NOT ${isKnown}`)
  }
  database.exec(`
    -- What is pinned is told from the pins and the tags.
    UPDATE holding SET pinned_at = NULL WHERE pinned_at IS NOT NULL;
    -- Without a reason it is a row of an index, such as that of when blobs were verified, whose page lies here.
    DELETE FROM holding
      WHERE public_at IS NULL AND account_at IS NULL AND local_at IS NULL;
    -- A manifest whose bytes are lost is not here; that its upstream gave it remains true.
    UPDATE holding SET media_type = NULL
      WHERE media_type IS NOT NULL AND digest NOT IN (SELECT digest FROM manifest);
    DELETE FROM manifest
      WHERE NOT EXISTS (SELECT 1 FROM holding WHERE holding.digest = manifest.digest AND media_type IS NOT NULL);
    DELETE FROM reference WHERE NOT EXISTS (SELECT 1 FROM holding WHERE holding.repository = reference.repository
      AND holding.digest = reference.manifest AND media_type IS NOT NULL);
    DELETE FROM tag WHERE NOT EXISTS (SELECT 1 FROM holding WHERE holding.repository = tag.repository
      AND holding.digest = tag.digest AND media_type IS NOT NULL);
  `)
  // Of what a repository holds only what was recorded beside it is told, never what a manifest says: one may name a
  // vendor's layer that was never here, and that some other repository has for nobody. A row of `reference` of a local
  // repository is such a record: it was written when all that it names was held, and nothing takes that away while it is
  // there.
  database.exec(`
    INSERT OR IGNORE INTO holding (repository, digest, local_at)
      SELECT reference.repository, target, local_at FROM reference JOIN holding
        ON holding.repository = reference.repository AND holding.digest = manifest
      WHERE local_at IS NOT NULL AND kind IN ('config', 'layer') AND ${isLocal};
  `)
  const manifests = database.prepare(
    `SELECT repository, holding.digest AS digest, media_type AS mediaType, bytes
      FROM holding JOIN manifest ON manifest.digest = holding.digest WHERE media_type IS NOT NULL`,
  )
  addReferences(database, manifests.iterate() as Iterable<never>)
  database.exec(`
    DELETE FROM reference WHERE kind IN ('config', 'layer') AND ${isLocal}
      AND NOT EXISTS (SELECT 1 FROM holding WHERE holding.repository = reference.repository
        AND holding.digest = target AND local_at IS NOT NULL);
    UPDATE holding SET idle_since = CASE WHEN media_type IS NULL AND NOT ${isNeeded}
        THEN coalesce(idle_since, CAST(unixepoch('subsec') * 1000 AS INTEGER)) END
      WHERE local_at IS NOT NULL;
  `)
  pinEverything(new Statements(database))
  database.exec(`
    UPDATE blob SET kept = EXISTS (SELECT 1 FROM holding
      WHERE holding.digest = blob.digest AND (local_at IS NOT NULL OR pinned_at IS NOT NULL));
  `)
}
