import type { Digest } from '../../oci/digest.ts'
import type { Tag } from '../../oci/reference.ts'
import type { Asked, ManifestReference } from '../catalog.ts'
import type { VerbsOver } from '../catalog-over.ts'
import { notYetCounting, type RefusalTimes } from '../refusal-times.ts'
import type { RepositoryKey } from '../repository-key.ts'
import { goes, store, storedBytesVerbs } from './byte-verbs.ts'
import { digestFromBytes, digestToBytes } from './digest-bytes.ts'
import { withPins } from './pinned.ts'
import { idOf, know } from './repository-id.ts'
import { keyed } from './rows.ts'
import type { Statements } from './statements.ts'
import { wishVerbs } from './wish-verbs.ts'

/**
 * The verbs of the catalog, each inside a transaction that the writer has begun and undoes where it throws. What they
 * do is easier to read in `memory/verbs.ts`; the conditions that make taking away safe are in the statements.
 */
export const sqliteVerbs: VerbsOver<Statements> = withPins({
  pulled(statements, repository, { digest, mediaType, bytes }, given) {
    const id = accept(statements, repository, digest, given)
    statements.run('setManifest', digestToBytes(digest), bytes)
    statements.run('holdManifest', id, digestToBytes(digest), mediaType, null)
    name(statements, id, digest, given.references, given.at)
    if (given.tag !== undefined) point(statements, id, given.tag, digest, given.at)
  },

  checked(statements, repository, tag, digest, asked) {
    const known = idOf(statements, repository)
    if (known === undefined || !isManifest(statements, known, digest)) return false
    accept(statements, repository, digest, asked)
    point(statements, known, tag, digest, asked.at)
    return true
  },

  confirmed(statements, repository, digest, asked) {
    accept(statements, repository, digest, asked)
  },

  refused(statements, repository, at) {
    return statements.run('refuse', ...keyed(repository), at) > 0
  },

  saveReferrers(statements, repository, subject, { referrers, checkedAt }) {
    const id = idOf(statements, repository)
    if (id === undefined) return false
    statements.run('setReferrers', id, digestToBytes(subject), JSON.stringify(referrers), checkedAt)
    return true
  },

  ...storedBytesVerbs,

  ...wishVerbs,

  pushed(statements, repository, digest, file, at, upload) {
    if (upload !== undefined) statements.run('endUpload', upload)
    statements.run('holdLocally', know(statements, repository), digestToBytes(digest), at)
    store(statements, 'sealed', digest, file, at)
  },

  mount(statements, to, digest, from, times) {
    const { at } = times
    const bytes = digestToBytes(digest)
    const isStored = statements.get('blob', bytes) !== undefined
    if (!isStored || !isGiven(statements, from, digest, times)) return false
    statements.run('holdLocally', know(statements, to), bytes, at)
    statements.run('settleKept', bytes)
    statements.run('used', bytes, at)
    return true
  },

  lease(statements, repository, digest, at, graceMs) {
    if (statements.get('leased', ...keyed(repository), digestToBytes(digest))?.is_stored !== 1) return false
    const id = know(statements, repository)
    statements.run('renewLease', id, digestToBytes(digest), at, at - graceMs / 4)
    return true
  },

  putManifest(statements, repository, { digest, mediaType, bytes }, put) {
    const known = idOf(statements, repository)
    const lacking = put.references.filter((reference) => lacks(statements, known, reference))
    if (lacking.length > 0) return [...new Set(lacking.map(({ target }) => target))]
    const id = know(statements, repository)
    statements.run('setManifest', digestToBytes(digest), bytes)
    statements.run('holdManifest', id, digestToBytes(digest), mediaType, put.at)
    statements.run('settleKept', digestToBytes(digest))
    name(statements, id, digest, put.references, put.at)
    statements.run('endIdleAbout', id, digestToBytes(digest))
    for (const tag of put.tags) point(statements, id, tag, digest, put.at, put.mover)
    return []
  },

  deleteTag(statements, repository, tag) {
    const id = idOf(statements, repository)
    return id !== undefined && statements.run('dropTag', id, tag) > 0
  },

  deleteManifest(statements, repository, digest, at) {
    const id = idOf(statements, repository)
    if (id === undefined || !isManifest(statements, id, digest)) return 'absent'
    const bytes = digestToBytes(digest)
    if (statements.get('isPushedChild', id, bytes)) return 'needed'
    statements.run('dropTagsOf', id, bytes)
    // The same digest may be a layer of another manifest.
    const isBlob = statements.get('isBlobOf', id, bytes) !== undefined
    if (isBlob) statements.run('forgetManifest', id, bytes)
    else if (statements.run('disown', id, bytes)) statements.run('dropUnfounded', id, bytes)
    afterManifest(statements, id, digest, at)
    statements.run('settleKept', bytes)
    return 'deleted'
  },

  deleteBlob(statements, repository, digest) {
    const id = idOf(statements, repository)
    const bytes = digestToBytes(digest)
    const holding = id === undefined ? undefined : statements.get('mediaType', id, bytes)
    if (id === undefined || !holding || holding.media_type !== null) return 'absent'
    if (statements.run('disownBlob', id, bytes) === 0) return 'needed'
    statements.run('dropUnfounded', id, bytes)
    return settle(statements, bytes)
  },

  letGo(statements, repository, digest, at, graceMs) {
    const id = idOf(statements, repository)
    const bytes = digestToBytes(digest)
    if (id === undefined) return 'kept'
    const wasManifest = isManifest(statements, id, digest)
    if (statements.run('letIdleGo', id, bytes, at, graceMs, repository) === 0) return 'kept'
    if (wasManifest) afterManifest(statements, id, digest, at)
    const outcome = settle(statements, bytes)
    return wasManifest && outcome === 'kept' ? 'deleted' : outcome
  },

  setFact(statements, name, value) {
    statements.run('setFact', name, value)
  },

  beginUpload(statements, id, repository, at, owner) {
    statements.run('beginUpload', id, repository, at, owner ?? null)
  },

  endUpload(statements, id) {
    return statements.run('endUpload', id) > 0
  },
})

/** Its upstream gave it. */
function accept(
  statements: Statements,
  repository: RepositoryKey,
  digest: Digest,
  { as, at }: Asked,
): number {
  const id = know(statements, repository)
  const [publicAt, accountAt] = as === 'anyone' ? [at, null] : [null, at]
  statements.run('hold', id, digestToBytes(digest), publicAt, accountAt)
  if (as === 'anyone') statements.run('endRefusal', id)
  return id
}

function isManifest(statements: Statements, id: number, digest: Digest): boolean {
  return typeof statements.get('mediaType', id, digestToBytes(digest))?.media_type === 'string'
}

/** Replaces what a manifest names. What is needed now is not idle; what nothing needs any more is, from `at` on. */
function name(
  statements: Statements,
  id: number,
  manifest: Digest,
  references: readonly ManifestReference[],
  at: number,
): void {
  const bytes = digestToBytes(manifest)
  const former = statements.all('targetsOf', id, bytes)
  if (former.length > 0) statements.run('dropReferences', id, bytes)
  for (const { target, kind, size, artifactType } of references) {
    const parameters = [digestToBytes(target), kind, bytes, size ?? null, artifactType ?? null]
    statements.run('addReference', id, ...parameters)
  }
  // All at once what is needed now, of which a manifest may name tens of thousands.
  statements.run('endIdleOf', id, bytes)
  const needed = new Set(references.flatMap(({ target, kind }) => (kind === 'subject' ? [] : [target])))
  for (const { target, kind } of former) {
    const isOver = kind !== 'subject' && !needed.has(digestFromBytes(target))
    if (isOver) statements.run('settleIdle', id, target as Uint8Array, at)
  }
}

/** A manifest is gone: what nothing else needs is idle, and what was about it unless something else carries that. */
function afterManifest(statements: Statements, id: number, manifest: Digest, at: number): void {
  const bytes = digestToBytes(manifest)
  statements.run('dropReferrers', id, bytes)
  name(statements, id, manifest, [], at)
  for (const about of statements.all('about', id, bytes))
    statements.run('settleIdle', id, about.manifest as Uint8Array, at)
  statements.run('dropManifest', bytes)
}

/** Points a tag at a digest; a move is kept in its history. */
function point(
  statements: Statements,
  id: number,
  tag: Tag,
  digest: Digest,
  at: number,
  mover?: string,
): void {
  const isMove = statements.get('isTagAt', id, tag, digestToBytes(digest)) === undefined
  statements.run('setTag', id, tag, digestToBytes(digest), at)
  if (!isMove) return
  statements.run('addTagMove', id, tag, digestToBytes(digest), at, mover ?? null)
  statements.run('trimTagMoves', id, tag)
}

/** A holding is gone: what becomes of the bytes. */
function settle(statements: Statements, digest: Uint8Array): 'kept' | 'unlink' {
  statements.run('settleKept', digest)
  return goes(statements, 'dropUnheld', digest) ? 'unlink' : 'kept'
}

/** Whether a repository gives a digest to anyone. */
function isGiven(
  statements: Statements,
  from: RepositoryKey | 'free',
  digest: Digest,
  times: RefusalTimes,
): boolean {
  const bytes = digestToBytes(digest)
  const between = notYetCounting(times)
  const isFree = () => statements.get('isFree', bytes, ...between) !== undefined
  if (from === 'free') return isFree()
  if (statements.get('givesToAnyone', ...keyed(from), bytes, ...between)) return true
  return statements.get('named', ...keyed(from), bytes) !== undefined && isFree()
}

/** Whether a local repository has not got what a manifest needs. */
function lacks(statements: Statements, id: number | undefined, { target, kind }: ManifestReference): boolean {
  if (kind === 'subject') return false
  const row = id === undefined ? undefined : statements.get('localPart', id, digestToBytes(target))
  if (!row) return true
  return kind === 'manifest' ? row.media_type === null : row.is_stored !== 1
}
