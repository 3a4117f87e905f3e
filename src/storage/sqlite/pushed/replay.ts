import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { digestOf } from '../../../oci/digest.ts'
import type { PinPattern } from '../../pins.ts'
import type { RepositoryKey } from '../../repository-key.ts'
import { localOrigin, nameOf, originOf, repositoryKey } from '../../repository-key.ts'
import { digestFromBytes, digestToBytes } from '../digest-bytes.ts'
import { pinEverything } from '../pinned.ts'
import { sqliteReads } from '../reads.ts'
import type { Statements } from '../statements.ts'
import { sqliteVerbs } from '../verbs.ts'
import type { ManifestPut, Numbered } from './change.ts'
import type { JournalFile } from './journal-file.ts'

/** Tags that have moved or come back fit other pins than before: what is pinned is told anew. */
const unpinLocal = `
  UPDATE holding SET pinned_at = NULL WHERE pinned_at IS NOT NULL
    AND repository IN (SELECT id FROM repository WHERE origin = '${localOrigin}');
  DELETE FROM holding
    WHERE public_at IS NULL AND account_at IS NULL AND local_at IS NULL AND pinned_at IS NULL;
  UPDATE blob SET kept = 1 - kept WHERE kept <> EXISTS (SELECT 1 FROM holding
    WHERE holding.digest = blob.digest AND (local_at IS NOT NULL OR pinned_at IS NOT NULL));
`

/** What a journal has brought back. */
export interface Replayed {
  /** Changes that the catalog lacked. */
  readonly changes: number
  /** Lines whose bytes are not those that were written, the header and an end that is cut among them. */
  readonly unreadable: number
  /** Manifests and tags of an older catalog that had been deleted since. */
  readonly removed: number
}

/** What it is replayed into. */
interface Target {
  readonly statements: Statements
  /** Where a damaged catalog was taken over the history of its tags was as well. */
  readonly addMove: StatementSync
}

const addMove =
  'INSERT OR IGNORE INTO tag_move (repository, name, moved_at, digest, mover) VALUES (?, ?, ?, ?, ?)'

/**
 * Does again what a catalog lacks, in its order: all, or what came `after` a change that it has. Each change is a state, so
 * that one that the catalog has already does no harm. `isOlder`: it is the journal's own catalog of an earlier day, so
 * that what it has and the journal had no more when it was written anew goes. To be run in a transaction.
 */
export function replay(
  database: DatabaseSync,
  statements: Statements,
  journal: JournalFile,
  { after, isOlder }: { readonly after: number; readonly isOlder: boolean },
): Replayed {
  const target = { statements, addMove: database.prepare(addMove) }
  const { from = 0 } = journal.header ?? {}
  const isAll = after < from
  const there = new Set<string>()
  let changes = 0
  let unreadable = journal.lacking
  for (const { change } of journal.lines()) {
    if (!change) unreadable += 1
    else if (isAll || (change.number ?? 0) > after) {
      if (isAll) note(there, change)
      if (redo(target, change)) changes += 1
      else unreadable += 1
    }
  }
  const removed = isAll && isOlder ? removeOthers(database, statements, there) : 0
  database.exec(unpinLocal)
  pinEverything(statements)
  return { changes, unreadable, removed }
}

/** False where it is nothing that was ever written. */
function redo(target: Target, change: Numbered): boolean {
  const { statements } = target
  if ('put' in change) return put(target, change)
  if ('untagged' in change) sqliteVerbs.deleteTag(statements, change.untagged, change.tag)
  else if ('deletedFrom' in change) {
    const { deletedFrom, digest, at } = change
    const outcome = sqliteVerbs.deleteManifest(statements, deletedFrom, digest, at)
    if (outcome === 'absent') sqliteVerbs.deleteBlob(statements, deletedFrom, digest)
  } else if ('pin' in change) sqliteVerbs.pin(statements, change.pin, change.at)
  else if ('unpin' in change) sqliteVerbs.unpin(statements, change.unpin)
  else return false
  return true
}

/** It was taken when the repository held all that it names here: so it holds that again, whether or not the bytes are here. */
function put({ statements, addMove }: Target, change: ManifestPut): boolean {
  const { put: repository, digest, mediaType, references, tags, at, mover, idleSince } = change
  const bytes = new Uint8Array(Buffer.from(change.bytes, 'base64'))
  if (digestOf(bytes, digest.startsWith('sha512') ? 'sha512' : 'sha256') !== digest) return false
  const manifest = { digest, mediaType, bytes }
  sqliteVerbs.putManifest(statements, repository, manifest, { references: [], tags: [], at })
  const id = Number(statements.get('repositoryId', originOf(repository), nameOf(repository))?.id)
  const key = digestToBytes(digest)
  for (const { target, kind, size, artifactType } of references) {
    const named = digestToBytes(target)
    statements.run('addReference', id, named, kind, key, size ?? null, artifactType ?? null)
    if (kind !== 'config' && kind !== 'layer') continue
    statements.run('holdLocally', id, named, at)
    statements.run('settleKept', named)
    statements.run('endRemoval', named)
  }
  statements.run('endIdleOf', id, key)
  for (const [tag, taggedAt] of tags) {
    const isMove = statements.get('isTagAt', id, tag, key) === undefined
    statements.run('setTag', id, tag, key, taggedAt)
    if (!isMove) continue
    addMove.run(id, tag, taggedAt, key, mover ?? null)
    statements.run('trimTagMoves', id, tag)
  }
  if (idleSince !== undefined) statements.run('settleIdle', id, key, idleSince)
  return true
}

/** Keeps what is there after each change. */
function note(there: Set<string>, change: Numbered): void {
  if ('put' in change) {
    there.add(`${change.put} ${change.digest}`)
    for (const [tag] of change.tags) there.add(`${change.put} ${tag}`)
  } else if ('deletedFrom' in change) there.delete(`${change.deletedFrom} ${change.digest}`)
  else if ('untagged' in change) there.delete(`${change.untagged} ${change.tag}`)
  else if ('pin' in change) there.add(keyOfPin(change.pin))
  else there.delete(keyOfPin(change.unpin))
}

function keyOfPin({ origin, repository, tag }: PinPattern): string {
  return `pin ${origin} ${repository} ${tag}`
}

/** Takes away from local repositories, and of pins, what is not `there`; returns how much that was. */
function removeOthers(database: DatabaseSync, statements: Statements, there: ReadonlySet<string>): number {
  const rows = (sql: string) => database.prepare(sql).all()
  const of = `JOIN repository ON id = repository WHERE origin = '${localOrigin}'`
  const local = ({ repository }: Record<string, unknown>) =>
    repositoryKey(localOrigin, repository as never) satisfies RepositoryKey
  let removed = 0
  for (const { pattern } of sqliteReads.pins(statements)) {
    if (!there.has(keyOfPin(pattern)) && sqliteVerbs.unpin(statements, pattern)) removed += 1
  }
  for (const row of rows(`SELECT repository.name AS repository, tag.name AS tag FROM tag ${of}`)) {
    if (there.has(`${local(row)} ${row.tag}`)) continue
    if (sqliteVerbs.deleteTag(statements, local(row), row.tag as never)) removed += 1
  }
  const held = `SELECT repository.name AS repository, digest FROM holding ${of} AND media_type IS NOT NULL`
  let others = rows(held).map((row) => ({ repository: local(row), digest: digestFromBytes(row.digest) }))
  others = others.filter(({ repository, digest }) => !there.has(`${repository} ${digest}`))
  // What an index needs goes after it.
  for (let left = others.length + 1; others.length < left; ) {
    left = others.length
    others = others.filter(({ repository, digest }) => {
      return sqliteVerbs.deleteManifest(statements, repository, digest, Date.now()) === 'needed'
    })
    removed += left - others.length
  }
  return removed
}
