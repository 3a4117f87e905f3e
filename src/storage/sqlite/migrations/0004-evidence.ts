import type { DatabaseSync } from 'node:sqlite'
import { addReferences } from '../named-by.ts'
import { evidenceTables } from './0004-evidence-tables.ts'

/**
 * Who may read what was a row for a repository and a blob, whoever had said so. From here on a repository holds content
 * on its upstream's word, and what its manifests name is apart; both are told from the manifests that are there.
 */
export function evidence(database: DatabaseSync): void {
  database.exec(`
    DROP TRIGGER tag_created;
    DROP TRIGGER tag_moved;
    ALTER TABLE repository RENAME TO old_repository;
    ALTER TABLE manifest RENAME TO old_manifest;
    ALTER TABLE tag RENAME TO old_tag;
    ALTER TABLE referrers RENAME TO old_referrers;
    ${evidenceTables}
    ${repositories}
    ${manifests}
  `)
  nameTargets(database)
  database.prepare(blobs).run(Date.now())
  database.exec(`
    ${tags}
    DROP TABLE tag_history;
    DROP TABLE repository_blob;
    DROP TABLE repository_manifest;
    DROP TABLE old_tag;
    DROP TABLE old_referrers;
    DROP TABLE old_manifest;
    DROP TABLE old_repository;
  `)
}

/** A digest as bytes; NULL for what is none, which no table takes: `OR IGNORE` drops the row. */
function bytesOf(column: string): string {
  return `CASE WHEN length(${column}) = 71 AND ${column} LIKE 'sha256:%' THEN unhex('01' || substr(${column}, 8))
    WHEN length(${column}) = 135 AND ${column} LIKE 'sha512:%' THEN unhex('02' || substr(${column}, 8)) END`
}

/**
 * One that was found private has been refused since it was asked about, which may not have been written down. "local"
 * is the origin of what is pushed from here on, and no upstream's name any more: nobody else is called local:upstream.
 */
const repositories = `
  INSERT INTO repository (id, origin, name, refused_since)
    SELECT id, iif(upstream = 'local', 'local:upstream', upstream), name, CASE WHEN is_public = 0 THEN coalesce(public_asked_at, 0) END FROM old_repository;
`

/** When a manifest was given is told by the tags that pointed at it, if any. */
const manifests = `
  INSERT OR IGNORE INTO manifest (digest, bytes) SELECT ${bytesOf('digest')}, bytes FROM old_manifest;
  CREATE TEMP TABLE given AS
    SELECT repository, digest, max(checked_at) AS at FROM old_tag GROUP BY repository, digest;
  CREATE INDEX temp.given_by ON given (repository, digest);
  INSERT OR IGNORE INTO holding (repository, digest, media_type, public_at)
    SELECT repository, ${bytesOf('digest')}, media_type,
      coalesce((SELECT at FROM given WHERE given.repository = it.repository AND given.digest = it.digest),
        CAST(unixepoch('subsec') * 1000 AS INTEGER))
    FROM repository_manifest AS it;
  DROP TABLE given;
  -- Repositories with a manifest that cannot be read: nobody knows what it names.
  CREATE TEMP TABLE unread (repository INTEGER PRIMARY KEY);
  CREATE TEMP TABLE private_blob AS
    SELECT digest, repository FROM old_repository JOIN repository_blob ON repository = id WHERE is_public = 0;
  CREATE INDEX temp.private_blob_by ON private_blob (digest);
`

/**
 * A blob that no manifest of its repository names was confirmed by its upstream. One that is named may have got its
 * right by that alone: it keeps it unless a repository that was found private has the same blob.
 */
const blobs = `
  INSERT OR IGNORE INTO holding (repository, digest, public_at)
    SELECT repository, ${bytesOf('digest')}, ?1 FROM repository_blob AS it
    WHERE NOT EXISTS (
        SELECT 1 FROM temp.private_blob AS p WHERE p.digest = it.digest AND p.repository <> it.repository)
      OR NOT (EXISTS (SELECT 1 FROM temp.unread WHERE unread.repository = it.repository)
        OR EXISTS (SELECT 1 FROM reference WHERE reference.repository = it.repository AND target = ${bytesOf('it.digest')}))
`

/** The last 100 moves of each tag, in their order, where two happened in the same millisecond as well. */
const tags = `
  DROP TABLE temp.unread;
  DROP TABLE temp.private_blob;
  INSERT OR IGNORE INTO tag (repository, name, digest, checked_at)
    SELECT repository, name, ${bytesOf('digest')}, checked_at FROM old_tag;
  INSERT OR IGNORE INTO tag_move (repository, name, digest, moved_at)
    SELECT repository, name, ${bytesOf('digest')},
      max(moved_at - nth) OVER (PARTITION BY repository, name ORDER BY nth) + nth
    FROM (
      SELECT *, row_number() OVER (PARTITION BY repository, name ORDER BY rowid) AS nth,
        row_number() OVER (PARTITION BY repository, name ORDER BY rowid DESC) AS nth_last
      FROM tag_history)
    WHERE nth_last <= 100;
  INSERT OR IGNORE INTO referrers (repository, subject, descriptors, checked_at)
    SELECT repository, ${bytesOf('subject')}, descriptors, checked_at FROM old_referrers;
`

/** What the manifests name. */
function nameTargets(database: DatabaseSync): void {
  const rows = database.prepare(
    `SELECT repository, holding.digest AS digest, media_type AS mediaType, bytes
      FROM holding JOIN manifest ON manifest.digest = holding.digest WHERE media_type IS NOT NULL`,
  )
  const addUnread = database.prepare('INSERT INTO temp.unread VALUES (?)')
  for (const repository of addReferences(database, rows.iterate() as Iterable<never>))
    addUnread.run(repository)
}
