import type { Digest } from '../../oci/digest.ts'
import type { Tag } from '../../oci/reference.ts'
import type { RepositoryName } from '../../oci/repository-name.ts'
import type { CatalogReads, ManifestReference } from '../catalog.ts'
import type { ReadsOver } from '../catalog-over.ts'
import { notYetCounting } from '../refusal-times.ts'
import { nameOf, originOf, type RepositoryKey, repositoryKey } from '../repository-key.ts'
import type { UploadRecord } from '../upload-records.ts'
import { digestFromBytes, digestToBytes } from './digest-bytes.ts'
import { DamagedRecord } from './sqlite-errors.ts'
import type { SqlRow, SqlValue, Statements } from './statements.ts'

const everything = -1

/** The questions to the catalog, over a connection. Each throws DamagedRecord where a row is not what was written. */
export const sqliteReads: ReadsOver<Statements> = {
  repository(statements, repository) {
    const row = statements.get('repository', ...keyed(repository))
    return row && { refusedSince: time(row.refused_since) }
  },

  repositories(statements, { after, limit, origin }) {
    const from = after === undefined ? ['', ''] : keyed(after)
    if (origin === undefined) return statements.all('repositories', ...from, limit).map(keyIn)
    const [afterOrigin = '', afterName = ''] = from
    if (afterOrigin > origin) return []
    const name = afterOrigin === origin ? afterName : ''
    return statements.all('repositoriesOf', origin, name, limit).map(keyIn)
  },

  listed(statements, { origin, after, limit, part, ...times }) {
    const row = statements.get('listed', origin, after, limit, part, ...notYetCounting(times))
    const names = texts(row?.names, row?.listed) as RepositoryName[]
    return { names, last: row?.seen === limit ? text(row.last) : undefined }
  },

  isPushed(statements, repository) {
    return statements.get('isPushed', ...keyed(repository)) !== undefined
  },

  held(statements, repository, digest) {
    const row = statements.get('held', ...keyed(repository), digestToBytes(digest))
    return (
      row && {
        mediaType: text(row.media_type),
        publicAt: time(row.public_at),
        accountAt: time(row.account_at),
        localAt: time(row.local_at),
        pinnedAt: time(row.pinned_at),
        idleSince: time(row.idle_since),
        refusedSince: time(row.refused_since),
      }
    )
  },

  named(statements, repository, digest) {
    const row = statements.get('named', ...keyed(repository), digestToBytes(digest))
    return row && { kind: text(row.kind) as ManifestReference['kind'], size: time(row.size) }
  },

  isFree(statements, digest, times) {
    return statements.get('isFree', digestToBytes(digest), ...notYetCounting(times)) !== undefined
  },

  localHolders(statements, digest, limit) {
    return statements.all('localHolders', digestToBytes(digest), limit).map(keyIn)
  },

  manifest(statements, repository, digest) {
    const row = statements.get('manifest', ...keyed(repository), digestToBytes(digest))
    const mediaType = text(row?.media_type)
    if (!row || mediaType === undefined) return undefined
    if (!(row.bytes instanceof Uint8Array)) throw new DamagedRecord('a manifest in the catalog has no bytes')
    return { digest, mediaType, bytes: row.bytes }
  },

  tag(statements, repository, tag) {
    const row = statements.get('tag', ...keyed(repository), tag)
    return row && { digest: digestFromBytes(row.digest), checkedAt: number(row.checked_at) }
  },

  tags(statements, repository, { after = '' as Tag, limit = everything } = {}) {
    const row = statements.get('tags', ...keyed(repository), after, limit)
    return texts(row?.names, row?.count) as Tag[]
  },

  referrers(statements, repository, subject) {
    const row = statements.get('referrers', ...keyed(repository), digestToBytes(subject))
    return row && { referrers: parsed(row.descriptors), checkedAt: number(row.checked_at) }
  },

  naming(statements, repository, target, kind, { after, limit }) {
    const from = after === undefined ? new Uint8Array() : digestToBytes(after)
    const rows = statements.all('naming', ...keyed(repository), digestToBytes(target), kind, from, limit)
    return rows.map((row) => ({
      manifest: digestFromBytes(row.manifest),
      artifactType: text(row.artifact_type),
    }))
  },

  blob(statements, digest) {
    const row = statements.get('blob', digestToBytes(digest))
    return (
      row && {
        size: number(row.size),
        mtime: number(row.mtime),
        inode: number(row.inode),
        usedAt: number(row.used_at),
        verifiedAt: number(row.verified_at),
        kept: row.kept === 1,
      }
    )
  },

  usage(statements) {
    const row = statements.get('usage')
    return { blobs: number(row?.blobs), bytes: number(row?.bytes) }
  },

  idle(statements, before, { after, limit }) {
    const rows = after
      ? statements.all(
          'idleAfter',
          before,
          limit,
          ...keyed(after.repository),
          after.idleSince,
          digestToBytes(after.digest),
        )
      : statements.all('idle', before, limit)
    return rows.map((row) => ({
      repository: keyIn(row),
      digest: digestFromBytes(row.digest),
      idleSince: number(row.idle_since),
    }))
  },

  removals(statements, { after, limit }) {
    const behind = after === undefined ? new Uint8Array() : digestToBytes(after)
    return statements.all('removals', behind, limit).map((row) => digestFromBytes(row.digest))
  },

  leastRecent(statements, before, limit) {
    const rows = statements.all('leastRecent', before, limit)
    return rows.map((row) => ({ digest: digestFromBytes(row.digest), size: number(row.size) }))
  },

  unverified(statements, before, limit) {
    return statements.all('unverified', before, limit).map((row) => digestFromBytes(row.digest))
  },

  upload(statements, id) {
    const row = statements.get('upload', id)
    return row && uploadIn(row)
  },

  staleUploads(statements, before, limit) {
    return statements.all('staleUploads', before, limit).map(uploadIn)
  },
}

/** What each question is answered where nothing can be read. */
export const misses: { readonly [Name in keyof CatalogReads]: Awaited<ReturnType<CatalogReads[Name]>> } = {
  repository: undefined,
  repositories: [],
  listed: { names: [], last: undefined },
  isPushed: false,
  held: undefined,
  named: undefined,
  isFree: false,
  localHolders: [],
  manifest: undefined,
  tag: undefined,
  tags: [],
  referrers: undefined,
  naming: [],
  blob: undefined,
  usage: { blobs: 0, bytes: 0 },
  idle: [],
  removals: [],
  leastRecent: [],
  unverified: [],
  upload: undefined,
  staleUploads: [],
}

/**
 * Whether a local repository has a blob: undefined where it has not, else whether that is promised for long enough to
 * be told without a write.
 */
export function leaseOf(
  statements: Statements,
  repository: RepositoryKey,
  digest: Digest,
  idleAfter: number,
): { readonly isFresh: boolean } | undefined {
  const row = statements.get('leased', ...keyed(repository), digestToBytes(digest))
  if (row?.is_stored !== 1) return undefined
  return { isFresh: (time(row.idle_since) ?? idleAfter) >= idleAfter }
}

/** Origin and name. */
export function keyed(repository: RepositoryKey): [SqlValue & string, SqlValue & string] {
  return [originOf(repository), nameOf(repository)]
}

function keyIn(row: SqlRow): RepositoryKey {
  return repositoryKey(text(row.origin) ?? '', (text(row.name) ?? '') as RepositoryName)
}

function uploadIn(row: SqlRow): UploadRecord {
  return {
    id: text(row.id) ?? '',
    repository: text(row.repository) as RepositoryKey,
    owner: text(row.owner),
    begunAt: number(row.begun_at),
    touchedAt: number(row.touched_at),
  }
}

function number(value: unknown): number {
  if (typeof value !== 'number') throw new DamagedRecord('a number in the catalog is none')
  return value
}

/** A number that need not be there. */
function time(value: unknown): number | undefined {
  return value === null ? undefined : number(value)
}

function text(value: unknown): string | undefined {
  if (value === null || value === undefined) return undefined
  if (typeof value !== 'string') throw new DamagedRecord('a text in the catalog is none')
  return value
}

function parsed(list: unknown) {
  try {
    return JSON.parse(text(list) ?? '')
  } catch (error) {
    throw new DamagedRecord('a list in the catalog is none', { cause: error })
  }
}

/** A list of texts that SQLite wrote as JSON. Those without an escape are split, three times as fast as they are parsed. */
function texts(list: unknown, count: unknown): string[] {
  const json = text(list) ?? ''
  const plain = json.startsWith('["') && !json.includes('\\') ? json.slice(2, -2).split('","') : undefined
  // What is no text among them has no quotes, and is not split off.
  if (plain !== undefined && plain.length === count) return plain
  return parsed(json).map((value: unknown) => text(value) ?? '')
}
