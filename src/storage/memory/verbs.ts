import type { Digest } from '../../oci/digest.ts'
import type { Tag } from '../../oci/reference.ts'
import type { Asked, ManifestReference } from '../catalog.ts'
import type { VerbsOver } from '../catalog-over.ts'
import type { SealedFile } from '../partial.ts'
import type { RefusalTimes } from '../refusal-times.ts'
import type { RepositoryKey } from '../repository-key.ts'
import { type CatalogTables, isEvidence, keyOf } from './catalog-tables.ts'
import { wishVerbs } from './wish-verbs.ts'

/** The verbs of the catalog over tables in memory: the plain reading of `sqlite/verbs.ts`. Each changes nothing where it throws. */
export const memoryVerbs: VerbsOver<CatalogTables> = {
  ...wishVerbs,

  pulled(tables, repository, { digest, mediaType, bytes }, given) {
    check(given.at)
    accept(tables, repository, digest, given)
    tables.manifests.set(digest, bytes)
    tables.hold(repository, digest, { mediaType, idleSince: undefined })
    tables.name(repository, digest, given.references, given.at)
    if (given.tag !== undefined) point(tables, repository, given.tag, digest, given.at)
    tables.settlePins(repository, given.at)
  },

  checked(tables, repository, tag, digest, asked) {
    check(asked.at)
    if (tables.holding(repository, digest)?.mediaType === undefined) return false
    accept(tables, repository, digest, asked)
    point(tables, repository, tag, digest, asked.at)
    tables.settlePins(repository, asked.at)
    return true
  },

  confirmed(tables, repository, digest, asked) {
    check(asked.at)
    accept(tables, repository, digest, asked)
  },

  refused(tables, repository, at) {
    check(at)
    const known = tables.repositories.get(repository)
    if (!known || known.refusedSince !== undefined) return false
    known.refusedSince = at
    return true
  },

  saveReferrers(tables, repository, subject, record) {
    check(record.checkedAt)
    if (!tables.repositories.has(repository)) return false
    tables.referrers.set(keyOf(repository, subject), structuredClone(record))
    return true
  },

  sealed(tables, digest, file, at) {
    check(at, file)
    store(tables, digest, file, { usedAt: at, verifiedAt: at })
  },

  verified(tables, digest, file, at) {
    check(at, file)
    store(tables, digest, file, { usedAt: tables.blobs.get(digest)?.usedAt ?? at, verifiedAt: at })
  },

  adopt(tables, digest, file, at) {
    check(at, file)
    if (tables.blobs.has(digest) || tables.removals.has(digest)) return false
    store(tables, digest, file, { usedAt: Math.min(file.mtime, at), verifiedAt: 0 })
    return true
  },

  used(tables, digests, at) {
    check(at)
    for (const digest of digests) {
      const row = tables.blobs.get(digest)
      if (row) tables.blobs.set(digest, { ...row, usedAt: at })
    }
  },

  gone(tables, digest) {
    tables.blobs.delete(digest)
  },

  pushed(tables, repository, digest, file, at, upload) {
    check(at, file)
    if (upload !== undefined) tables.uploads.delete(upload)
    tables.know(repository)
    tables.holdLocally(repository, digest, at)
    store(tables, digest, file, { usedAt: at, verifiedAt: at })
  },

  mount(tables, to, digest, from, times) {
    const { at } = times
    check(at)
    const stored = tables.blobs.get(digest)
    if (!stored || !isGiven(tables, from, digest, times)) return false
    tables.know(to)
    tables.holdLocally(to, digest, at)
    store(tables, digest, stored, { usedAt: at, verifiedAt: stored.verifiedAt })
    return true
  },

  lease(tables, repository, digest, at, graceMs) {
    check(at)
    const held = tables.holding(repository, digest)
    if (held?.localAt === undefined) return false
    if (held.mediaType === undefined && !tables.blobs.has(digest)) return false
    if (held.idleSince !== undefined && held.idleSince < at - graceMs / 4) {
      tables.hold(repository, digest, { idleSince: at })
    }
    return true
  },

  putManifest(tables, repository, manifest, put) {
    const { digest, mediaType, bytes } = manifest
    check(put.at)
    const lacking = put.references.filter((reference) => lacks(tables, repository, reference))
    if (lacking.length > 0) return [...new Set(lacking.map(({ target }) => target))]
    tables.know(repository)
    tables.manifests.set(digest, bytes)
    const localAt = tables.holding(repository, digest)?.localAt ?? put.at
    tables.hold(repository, digest, { mediaType, localAt, idleSince: undefined })
    tables.name(repository, digest, put.references, put.at)
    tables.settleAbout(repository, digest, put.at)
    for (const tag of put.tags) point(tables, repository, tag, digest, put.at)
    tables.settlePins(repository, put.at)
    return []
  },

  deleteTag(tables, repository, tag) {
    const wasThere = tables.tags.delete(keyOf(repository, tag))
    tables.settlePins(repository, 0)
    return wasThere
  },

  deleteManifest(tables, repository, digest, at) {
    check(at)
    const held = tables.holding(repository, digest)
    if (held?.mediaType === undefined) return 'absent'
    if (held.localAt !== undefined && tables.needs(repository, digest, ['manifest'])) return 'needed'
    for (const [key, tag] of tables.tags) {
      if (tag.repository === repository && tag.digest === digest) tables.tags.delete(key)
    }
    // The same digest may be a layer of another manifest.
    if (tables.needs(repository, digest, ['config', 'layer'])) {
      tables.hold(repository, digest, { mediaType: undefined })
    } else {
      tables.disown(repository, digest)
    }
    afterManifest(tables, repository, digest, at)
    tables.settlePins(repository, at)
    return 'deleted'
  },

  deleteBlob(tables, repository, digest) {
    const held = tables.holding(repository, digest)
    if (!held || !isEvidence(held) || held.mediaType !== undefined) return 'absent'
    if (held.localAt !== undefined && tables.needs(repository, digest)) return 'needed'
    return letHoldingGo(tables, repository, digest)
  },

  letGo(tables, repository, digest, at, graceMs) {
    check(at)
    check(graceMs)
    const { idleSince, mediaType } = tables.holding(repository, digest) ?? {}
    if (idleSince === undefined || idleSince >= at - graceMs || tables.isCarried(repository, digest))
      return 'kept'
    const isPromised = [...tables.uploads.values()].some(
      (upload) => upload.repository === repository && upload.begunAt <= idleSince + graceMs,
    )
    if (isPromised) return 'kept'
    const outcome = letHoldingGo(tables, repository, digest)
    if (mediaType === undefined) return outcome
    afterManifest(tables, repository, digest, at)
    return outcome === 'kept' ? 'deleted' : outcome
  },

  evict(tables, digest, usedBefore) {
    check(usedBefore)
    const row = tables.blobs.get(digest)
    if (!row || row.usedAt >= usedBefore || tables.isKept(digest)) return false
    return tables.dropBlob(digest)
  },

  mayGo(tables, digest) {
    return tables.removals.has(digest) && !tables.blobs.has(digest) && !tables.isKept(digest)
  },

  removed(tables, digests) {
    for (const digest of digests) tables.removals.delete(digest)
  },

  pin(tables, pattern, at) {
    check(at)
    const key = keyOf(pattern.origin, pattern.repository, pattern.tag)
    if (tables.pins.has(key)) return
    const { origin, repository, tag } = pattern
    tables.pins.set(key, { origin, repository, tag, pinnedAt: at })
    for (const known of tables.repositories.keys()) tables.settlePins(known, at)
  },

  unpin(tables, pattern) {
    const wasThere = tables.pins.delete(keyOf(pattern.origin, pattern.repository, pattern.tag))
    for (const known of tables.repositories.keys()) tables.settlePins(known, 0)
    return wasThere
  },

  setFact(tables, name, value) {
    check(value)
    tables.facts.set(name, value)
  },

  beginUpload(tables, id, repository, at, owner) {
    check(at)
    tables.uploads.set(id, { id, repository, owner, touchedAt: at, begunAt: at })
  },

  endUpload(tables, id) {
    return tables.uploads.delete(id)
  },
}

/** Throws where a number is none for a column. */
function check(at: number, file?: SealedFile): void {
  for (const number of [at, file?.size ?? 0, file?.mtime ?? 0, file?.inode ?? 0]) {
    if (!Number.isSafeInteger(number)) throw new TypeError(`${number} is not a whole number`)
  }
}

/** Its upstream gave it. */
function accept(tables: CatalogTables, repository: RepositoryKey, digest: Digest, { as, at }: Asked): void {
  tables.know(repository, as === 'anyone')
  tables.hold(repository, digest, as === 'anyone' ? { publicAt: at } : { accountAt: at })
}

function point(
  tables: CatalogTables,
  repository: RepositoryKey,
  name: Tag,
  digest: Digest,
  checkedAt: number,
): void {
  tables.tags.set(keyOf(repository, name), { repository, name, digest, checkedAt })
}

/** A manifest is gone: what nothing else needs is idle, and what was about it unless something else carries that. */
function afterManifest(tables: CatalogTables, repository: RepositoryKey, digest: Digest, at: number): void {
  tables.referrers.delete(keyOf(repository, digest))
  tables.name(repository, digest, [], at)
  tables.settleAbout(repository, digest, at)
  const isHeld = tables.holdersOf(digest).some(({ mediaType }) => mediaType !== undefined)
  if (!isHeld) tables.manifests.delete(digest)
}

/** Takes content away from a repository, and says what becomes of the bytes. */
function letHoldingGo(tables: CatalogTables, repository: RepositoryKey, digest: Digest): 'kept' | 'unlink' {
  tables.disown(repository, digest)
  const isWanted = tables.holdersOf(digest).some(({ publicAt }) => publicAt !== undefined)
  if (isWanted || tables.isKept(digest)) return 'kept'
  return tables.dropBlob(digest) ? 'unlink' : 'kept'
}

function store(
  tables: CatalogTables,
  digest: Digest,
  { size, mtime, inode }: SealedFile,
  times: { usedAt: number; verifiedAt: number },
): void {
  tables.blobs.set(digest, { digest, size, mtime, inode, ...times })
}

/** Whether a repository gives a digest to anyone. */
function isGiven(
  tables: CatalogTables,
  from: RepositoryKey | 'free',
  digest: Digest,
  times: RefusalTimes,
): boolean {
  if (from === 'free') return tables.isFree(digest, times)
  const held = tables.holding(from, digest)
  if (held?.localAt !== undefined) return true
  if (held?.publicAt !== undefined && tables.counts(from, times)) return true
  return tables.namings(from, digest).length > 0 && tables.isFree(digest, times)
}

/** Whether a local repository has not got what a manifest needs. */
function lacks(
  tables: CatalogTables,
  repository: RepositoryKey,
  { target, kind }: ManifestReference,
): boolean {
  if (kind === 'subject') return false
  const held = tables.holding(repository, target)
  if (held?.localAt === undefined) return true
  return kind === 'manifest' ? held.mediaType === undefined : !tables.blobs.has(target)
}
