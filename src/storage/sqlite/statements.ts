import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { DamagedRecord } from './sqlite-errors.ts'

/** A value that SQLite takes. */
export type SqlValue = string | number | Uint8Array | null

/** A row that SQLite gives. */
export type SqlRow = Record<string, unknown>

/** Of a holding, with its repository. */
const holdingColumns = 'media_type, public_at, account_at, local_at, pinned_at, idle_since, refused_since'
/** Somebody said that the repository has it: that it is pinned says nothing of the kind. */
const isEvidence = '(public_at IS NOT NULL OR account_at IS NOT NULL OR local_at IS NOT NULL)'

/** The repository of which the first two parameters are origin and name. */
const asked = '(SELECT id FROM repository WHERE origin = ?1 AND name = ?2)'

/** A manifest of repository ?1 cannot be used without ?2. */
const isNeeded = `EXISTS (SELECT 1 FROM reference WHERE repository = ?1 AND target = ?2 AND kind <> 'subject')`

/**
 * Something keeps ?2 in repository ?1: it is needed, has a tag, or is about a manifest that is here. What was pushed by
 * its digest alone has none of these, and is not idle all the same.
 */
const isCarried = `(${isNeeded}
  OR EXISTS (SELECT 1 FROM tag WHERE repository = ?1 AND digest = ?2)
  OR EXISTS (SELECT 1 FROM reference JOIN holding AS subject
      ON subject.repository = ?1 AND subject.digest = target AND subject.media_type IS NOT NULL
    WHERE reference.repository = ?1 AND manifest = ?2 AND kind = 'subject'))`

/** Some repository wants ?1 whoever else needs room: what the column \`kept\` says. */
const isKept =
  'EXISTS (SELECT 1 FROM holding WHERE digest = ?1 AND (local_at IS NOT NULL OR pinned_at IS NOT NULL))'

/** The repository has it no more; the row remains as long as it is pinned. */
const disown =
  'UPDATE holding SET media_type = NULL, public_at = NULL, account_at = NULL, local_at = NULL, idle_since = NULL'

/** ?2, and all that it needs in repository ?1. */
const closure = `WITH RECURSIVE closure (digest) AS (VALUES (?2) UNION SELECT target FROM closure
  CROSS JOIN reference ON repository = ?1 AND manifest = closure.digest AND kind <> 'subject')`

/** All of the SQL. Reads are asked of the repository ?1, ?2 (origin and name), changes of the repository ?1 (its row). */
const sql = {
  // What is known of repositories.
  repository: 'SELECT refused_since FROM repository WHERE origin = ?1 AND name = ?2',
  repositories:
    'SELECT origin, name FROM repository WHERE (origin, name) > (?1, ?2) ORDER BY origin, name LIMIT ?3',
  repositoriesOf:
    'SELECT origin, name FROM repository WHERE origin = ?1 AND name > ?2 ORDER BY name LIMIT ?3',
  // The names as one text: a row for each would take four times as long, in which nobody else is served.
  listed: `SELECT json_group_array(name) FILTER (WHERE is_listed) AS names,
      count(*) FILTER (WHERE is_listed) AS listed, max(name) AS last, count(*) AS seen FROM (
      SELECT name, instr(name, ?4) > 0 AND (
        EXISTS (SELECT 1 FROM holding WHERE repository = id AND media_type IS NOT NULL AND local_at IS NOT NULL)
        OR (?1 <> 'local' AND (refused_since IS NULL OR (refused_since > ?5 AND refused_since < ?6))
          AND EXISTS (SELECT 1 FROM holding
            WHERE repository = id AND media_type IS NOT NULL AND public_at IS NOT NULL))) AS is_listed
      FROM repository WHERE origin = ?1 AND name > ?2 ORDER BY name LIMIT ?3)`,
  repositoryId: 'SELECT id FROM repository WHERE origin = ?1 AND name = ?2',
  isPushed: `SELECT 1 FROM holding INDEXED BY holding_pushed
    WHERE repository = ${asked} AND media_type IS NOT NULL AND local_at IS NOT NULL LIMIT 1`,
  addRepository: 'INSERT INTO repository (origin, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING',
  refuse:
    'UPDATE repository SET refused_since = ?3 WHERE origin = ?1 AND name = ?2 AND refused_since IS NULL',
  endRefusal: 'UPDATE repository SET refused_since = NULL WHERE id = ?1 AND refused_since IS NOT NULL',

  // Evidence.
  held: `SELECT ${holdingColumns} FROM repository JOIN holding ON holding.repository = repository.id
    WHERE origin = ?1 AND name = ?2 AND digest = ?3 AND ${isEvidence}`,
  isFree: `SELECT 1 FROM (
      SELECT repository FROM holding WHERE digest = ?1 AND public_at IS NOT NULL
      ORDER BY public_at DESC, repository DESC LIMIT 16
    ) JOIN repository ON id = repository
    WHERE refused_since IS NULL OR (refused_since > ?2 AND refused_since < ?3) LIMIT 1`,
  localHolders: `SELECT origin, name FROM holding JOIN repository ON id = repository
    WHERE digest = ?1 AND local_at IS NOT NULL ORDER BY holding.repository LIMIT ?2`,
  keeping: `SELECT origin, name, ${holdingColumns} FROM holding CROSS JOIN repository ON id = repository
    WHERE digest = ?1 AND (local_at IS NOT NULL OR pinned_at IS NOT NULL) ORDER BY holding.repository LIMIT ?2`,
  holdersForAnyone: `SELECT origin, name, ${holdingColumns} FROM holding CROSS JOIN repository ON id = repository
    WHERE digest = ?1 AND public_at IS NOT NULL AND origin <> 'local'
    ORDER BY public_at DESC, holding.repository DESC LIMIT ?2`,
  holdersForAccount: `SELECT origin, name, ${holdingColumns} FROM holding CROSS JOIN repository ON id = repository
    WHERE digest = ?1 AND account_at IS NOT NULL AND public_at IS NULL AND origin <> 'local'
    ORDER BY account_at DESC, holding.repository DESC LIMIT ?2`,
  namers: `SELECT origin, name, origin <> 'local' AND EXISTS (
      SELECT 1 FROM reference WHERE repository = id AND target = ?3 AND kind <> 'subject') AS is_naming
    FROM repository WHERE (origin, name) > (?1, ?2) ORDER BY origin, name LIMIT ?4`,
  givesToAnyone: `SELECT 1 FROM repository JOIN holding ON holding.repository = repository.id
    WHERE origin = ?1 AND name = ?2 AND digest = ?3 AND (local_at IS NOT NULL
      OR (public_at IS NOT NULL AND (refused_since IS NULL OR (refused_since > ?4 AND refused_since < ?5))))`,
  leased: `SELECT idle_since,
      media_type IS NOT NULL OR EXISTS (SELECT 1 FROM blob WHERE blob.digest = ?3) AS is_stored
    FROM holding WHERE repository = ${asked} AND digest = ?3 AND local_at IS NOT NULL`,
  localPart: `SELECT media_type, EXISTS (SELECT 1 FROM blob WHERE blob.digest = ?2) AS is_stored
    FROM holding WHERE repository = ?1 AND digest = ?2 AND local_at IS NOT NULL`,
  mediaType: `SELECT media_type FROM holding WHERE repository = ?1 AND digest = ?2 AND ${isEvidence}`,
  hold: `INSERT INTO holding (repository, digest, public_at, account_at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET public_at = coalesce(excluded.public_at, public_at),
      account_at = coalesce(excluded.account_at, account_at)`,
  holdManifest: `INSERT INTO holding (repository, digest, media_type, local_at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET media_type = excluded.media_type,
      local_at = coalesce(local_at, excluded.local_at), idle_since = NULL`,
  holdLocally: `INSERT INTO holding (repository, digest, local_at, idle_since)
    VALUES (?1, ?2, ?3, CASE WHEN ${isNeeded} THEN NULL ELSE ?3 END)
    ON CONFLICT DO UPDATE SET local_at = coalesce(local_at, excluded.local_at),
      idle_since = CASE WHEN media_type IS NULL THEN excluded.idle_since END`,
  settleIdle: `UPDATE holding SET idle_since = CASE WHEN ${isCarried} THEN NULL ELSE coalesce(idle_since, ?3) END
    WHERE repository = ?1 AND digest = ?2 AND local_at IS NOT NULL`,
  endIdleOf: `UPDATE holding SET idle_since = NULL WHERE repository = ?1 AND idle_since IS NOT NULL
      AND digest IN (SELECT target FROM reference WHERE repository = ?1 AND manifest = ?2 AND kind <> 'subject')`,
  endIdleAbout: `UPDATE holding SET idle_since = NULL WHERE repository = ?1 AND idle_since IS NOT NULL
      AND digest IN (SELECT manifest FROM reference WHERE repository = ?1 AND target = ?2 AND kind = 'subject')`,
  renewLease: 'UPDATE holding SET idle_since = ?3 WHERE repository = ?1 AND digest = ?2 AND idle_since < ?4',
  forgetManifest: 'UPDATE holding SET media_type = NULL WHERE repository = ?1 AND digest = ?2',
  disown: `${disown} WHERE repository = ?1 AND digest = ?2`,
  disownBlob: `${disown} WHERE repository = ?1 AND digest = ?2 AND media_type IS NULL
      AND (local_at IS NULL OR NOT ${isNeeded})`,
  dropUnfounded: `DELETE FROM holding WHERE repository = ?1 AND digest = ?2 AND pinned_at IS NULL AND NOT ${isEvidence}`,
  letIdleGo: `DELETE FROM holding WHERE repository = ?1 AND digest = ?2 AND idle_since < ?3 - ?4 AND NOT ${isCarried}
      AND NOT EXISTS (SELECT 1 FROM upload WHERE upload.repository = ?5 AND begun_at <= idle_since + ?4)`,
  idle: `SELECT origin, name, digest, idle_since FROM holding CROSS JOIN repository ON id = repository
    WHERE idle_since < ?1 ORDER BY idle_since, repository, digest LIMIT ?2`,
  idleAfter: `SELECT origin, name, digest, idle_since FROM holding CROSS JOIN repository ON id = repository
    WHERE idle_since >= ?5 AND (idle_since, repository, digest) > (?5, ${asked.replace('?1', '?3').replace('?2', '?4')}, ?6)
      AND idle_since < ?1 ORDER BY idle_since, repository, digest LIMIT ?2`,

  // Manifests and what they name.
  manifest: `SELECT bytes, coalesce(
      (SELECT media_type FROM holding WHERE repository = ${asked} AND digest = ?3),
      (SELECT media_type FROM holding WHERE digest = ?3 AND media_type IS NOT NULL ORDER BY repository LIMIT 1)
    ) AS media_type FROM manifest WHERE digest = ?3`,
  setManifest: `INSERT INTO manifest (digest, bytes) VALUES (?1, ?2)
    ON CONFLICT DO UPDATE SET bytes = excluded.bytes WHERE bytes <> excluded.bytes`,
  dropManifest: `DELETE FROM manifest WHERE digest = ?1
    AND NOT EXISTS (SELECT 1 FROM holding WHERE digest = ?1 AND media_type IS NOT NULL)`,
  named: `SELECT kind, size FROM reference WHERE repository = ${asked} AND target = ?3
    ORDER BY kind, manifest LIMIT 1`,
  naming: `SELECT manifest, artifact_type FROM reference
    WHERE repository = ${asked} AND target = ?3 AND kind = ?4 AND manifest > ?5 ORDER BY manifest LIMIT ?6`,
  isBlobOf: `SELECT 1 FROM reference
    WHERE repository = ?1 AND target = ?2 AND kind IN ('config', 'layer') LIMIT 1`,
  isPushedChild: `SELECT 1 FROM holding WHERE repository = ?1 AND digest = ?2 AND local_at IS NOT NULL
    AND EXISTS (SELECT 1 FROM reference WHERE repository = ?1 AND target = ?2 AND kind = 'manifest')`,
  targetsOf: 'SELECT target, kind FROM reference WHERE repository = ?1 AND manifest = ?2',
  about: `SELECT manifest FROM reference WHERE repository = ?1 AND target = ?2 AND kind = 'subject'`,
  // The index is named: without it all of the repository is walked through.
  dropReferences: 'DELETE FROM reference INDEXED BY reference_of WHERE repository = ?1 AND manifest = ?2',
  addReference: `INSERT INTO reference (repository, target, kind, manifest, size, artifact_type)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT DO UPDATE SET size = excluded.size, artifact_type = excluded.artifact_type`,
  referrers: `SELECT descriptors, checked_at FROM referrers WHERE repository = ${asked} AND subject = ?3`,
  setReferrers: `INSERT INTO referrers (repository, subject, descriptors, checked_at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET descriptors = excluded.descriptors, checked_at = excluded.checked_at`,
  dropReferrers: 'DELETE FROM referrers WHERE repository = ?1 AND subject = ?2',

  // Tags.
  tag: `SELECT digest, checked_at FROM tag WHERE repository = ${asked} AND name = ?3`,
  tags: `SELECT json_group_array(name) AS names, count(*) AS count FROM (
      SELECT name FROM tag WHERE repository = ${asked} AND name > ?3 ORDER BY name LIMIT ?4)`,
  isTagAt: 'SELECT 1 FROM tag WHERE repository = ?1 AND name = ?2 AND digest = ?3',
  setTag: `INSERT INTO tag (repository, name, digest, checked_at) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET digest = excluded.digest, checked_at = excluded.checked_at`,
  // The order of the moves holds where two come in a millisecond, and where the clock was set back.
  addTagMove: `INSERT INTO tag_move (repository, name, digest, moved_at, mover)
    SELECT ?1, ?2, ?3, max(?4, coalesce(max(moved_at) + 1, ?4)), ?5
    FROM tag_move WHERE repository = ?1 AND name = ?2`,
  trimTagMoves: `DELETE FROM tag_move WHERE repository = ?1 AND name = ?2 AND moved_at <= (
      SELECT moved_at FROM tag_move WHERE repository = ?1 AND name = ?2 ORDER BY moved_at DESC LIMIT 1 OFFSET 100)`,
  dropTag: 'DELETE FROM tag WHERE repository = ?1 AND name = ?2',
  dropTagsOf: 'DELETE FROM tag INDEXED BY tag_of WHERE repository = ?1 AND digest = ?2',

  // Pins.
  pins: 'SELECT origin, repository, tag, pinned_at FROM pin ORDER BY origin, repository, tag',
  pinsOf: `SELECT origin, repository, tag FROM pin WHERE origin = ?1 AND repository = ?2
    UNION ALL SELECT origin, repository, tag FROM pin WHERE origin = ?1 AND instr(repository, '*') > 0`,
  addPin: `INSERT INTO pin (origin, repository, tag, pinned_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING`,
  dropPin: 'DELETE FROM pin WHERE origin = ?1 AND repository = ?2 AND tag = ?3',
  tagsOf: 'SELECT name, digest FROM tag WHERE repository = ?1',
  tagsAt: 'SELECT name FROM tag WHERE repository = ?1 AND digest = ?2',
  closureOf: `${closure} SELECT manifest, target FROM closure
    CROSS JOIN reference ON repository = ?1 AND manifest = closure.digest AND kind <> 'subject'`,
  pinClosure: `${closure} INSERT INTO holding (repository, digest, pinned_at)
    SELECT ?1, digest, ?3 FROM closure WHERE true
    ON CONFLICT DO UPDATE SET pinned_at = excluded.pinned_at WHERE pinned_at IS NULL`,
  keepClosure: `${closure} UPDATE blob SET kept = 1 WHERE kept = 0 AND digest IN (SELECT digest FROM closure)`,
  pinnedNamer: `SELECT 1 FROM reference CROSS JOIN holding ON holding.repository = ?1 AND holding.digest = manifest
    WHERE reference.repository = ?1 AND target = ?2 AND kind <> 'subject' AND pinned_at IS NOT NULL
      AND hex(manifest) NOT IN (SELECT value FROM json_each(?3)) LIMIT 1`,
  pinHolding: `INSERT INTO holding (repository, digest, pinned_at) VALUES (?1, ?2, ?3)
    ON CONFLICT DO UPDATE SET pinned_at = excluded.pinned_at WHERE pinned_at IS NULL`,
  unpinHolding:
    'UPDATE holding SET pinned_at = NULL WHERE repository = ?1 AND digest = ?2 AND pinned_at IS NOT NULL',

  // The bytes that are here.
  blob: 'SELECT size, mtime, inode, used_at, verified_at, kept FROM blob WHERE digest = ?1',
  blobs: `SELECT digest, size, mtime, inode, used_at, verified_at, kept FROM blob
    WHERE digest > ?1 ORDER BY digest LIMIT ?2`,
  leastRecent: `SELECT digest, size, used_at, mtime FROM blob
    WHERE kept = 0 AND used_at < ?1 AND (used_at, digest) > (?2, ?3) ORDER BY used_at, digest LIMIT ?4`,
  unverified: 'SELECT digest FROM blob WHERE verified_at < ?1 ORDER BY verified_at, digest LIMIT ?2',
  sealed: `INSERT INTO blob (digest, size, mtime, inode, used_at, verified_at, kept)
    VALUES (?1, ?2, ?3, ?4, ?5, ?5, ${isKept})
    ON CONFLICT DO UPDATE SET size = excluded.size, mtime = excluded.mtime, inode = excluded.inode,
      used_at = excluded.used_at, verified_at = excluded.verified_at, kept = excluded.kept`,
  verified: `INSERT INTO blob (digest, size, mtime, inode, used_at, verified_at, kept)
    VALUES (?1, ?2, ?3, ?4, ?5, ?5, ${isKept})
    ON CONFLICT DO UPDATE SET size = excluded.size, mtime = excluded.mtime, inode = excluded.inode,
      verified_at = excluded.verified_at, kept = excluded.kept`,
  adopt: `INSERT INTO blob (digest, size, mtime, inode, used_at, verified_at, kept)
    SELECT ?1, ?2, ?3, ?4, min(?3, ?5), 0, ${isKept} WHERE NOT EXISTS (SELECT 1 FROM removal WHERE digest = ?1)
    ON CONFLICT DO NOTHING`,
  used: 'UPDATE blob SET used_at = ?2 WHERE digest = ?1',
  settleKept: `UPDATE blob SET kept = ${isKept} WHERE digest = ?1`,
  settleKeptOf: `UPDATE blob SET kept = EXISTS (SELECT 1 FROM holding WHERE holding.digest = blob.digest
      AND (local_at IS NOT NULL OR pinned_at IS NOT NULL))
    WHERE digest IN (SELECT unhex(value) FROM json_each(?1))`,
  gone: 'DELETE FROM blob WHERE digest = ?1',
  evict: 'DELETE FROM blob WHERE digest = ?1 AND kept = 0 AND used_at < ?2',
  dropUnheld: `DELETE FROM blob WHERE digest = ?1 AND kept = 0
    AND NOT EXISTS (SELECT 1 FROM holding WHERE digest = ?1 AND public_at IS NOT NULL)`,

  // Bytes that may go.
  addRemoval: 'INSERT INTO removal (digest) VALUES (?1) ON CONFLICT DO NOTHING',
  removals: 'SELECT digest FROM removal WHERE digest > ?1 ORDER BY digest LIMIT ?2',
  mayGo: `SELECT 1 FROM removal WHERE digest = ?1
    AND NOT EXISTS (SELECT 1 FROM blob WHERE digest = ?1) AND NOT ${isKept}`,
  endRemoval: 'DELETE FROM removal WHERE digest = ?1',

  // What the program found out.
  fact: 'SELECT value FROM fact WHERE name = ?1',
  setFact: 'INSERT INTO fact (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value',

  // Uploads.
  upload: 'SELECT id, repository, owner, begun_at, touched_at FROM upload WHERE id = ?1',
  staleUploads:
    'SELECT id, repository, owner, begun_at, touched_at FROM upload WHERE touched_at < ?1 ORDER BY touched_at, id LIMIT ?2',
  beginUpload: `INSERT INTO upload (id, repository, touched_at, begun_at, owner) VALUES (?1, ?2, ?3, ?3, ?4)
    ON CONFLICT DO UPDATE SET repository = excluded.repository, touched_at = excluded.touched_at,
      begun_at = excluded.begun_at, owner = excluded.owner`,
  endUpload: 'DELETE FROM upload WHERE id = ?1',
  wishes: 'SELECT * FROM wish ORDER BY asked_at, origin, repository, reference, kind',
  addWish: `INSERT INTO wish (origin, repository, reference, kind, platform, asked_at, due_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE SET
      platform = coalesce(excluded.platform, platform), asked_at = excluded.asked_at, due_at = excluded.due_at`,
  trimWishes: `DELETE FROM wish WHERE (origin, repository, reference, kind) IN (
    SELECT origin, repository, reference, kind FROM wish
    ORDER BY asked_at DESC, origin DESC, repository DESC, reference DESC, kind DESC LIMIT -1 OFFSET ?1)`,
  dropWish: 'DELETE FROM wish WHERE origin = ?1 AND repository = ?2 AND reference = ?3 AND kind = ?4',
} as const

export type StatementName = keyof typeof sql

/** Those that walk through a whole table; all others search by a key or an index. */
export const walks: readonly StatementName[] = ['pins', 'wishes', 'trimWishes']

/** The statements by name, for the test that looks at how they are run. */
export const sqlOf: Readonly<Record<StatementName, string>> = sql

/** The statements over one connection. */
export class Statements {
  readonly #database: DatabaseSync
  readonly #prepared = new Map<StatementName, StatementSync>()

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  /** Throws DamagedRecord where the schema of a catalog that is up to date lacks something: it must have been lost. */
  prepareAll(): void {
    try {
      for (const name of Object.keys(sql) as StatementName[]) this.#statement(name)
    } catch (error) {
      throw new DamagedRecord('the schema of the catalog is not what it was', { cause: error })
    }
  }

  /** The first row, or undefined. */
  get(name: StatementName, ...parameters: readonly SqlValue[]): SqlRow | undefined {
    return this.#statement(name).get(...parameters)
  }

  all(name: StatementName, ...parameters: readonly SqlValue[]): SqlRow[] {
    return this.#statement(name).all(...parameters)
  }

  /** How many rows were changed. */
  run(name: StatementName, ...parameters: readonly SqlValue[]): number {
    return Number(this.#statement(name).run(...parameters).changes)
  }

  #statement(name: StatementName): StatementSync {
    const known = this.#prepared.get(name)
    if (known) return known
    const statement = this.#database.prepare(sql[name])
    this.#prepared.set(name, statement)
    return statement
  }
}
