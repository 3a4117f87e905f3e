import type { Digest } from '../../oci/digest.ts'
import type { Tag } from '../../oci/reference.ts'
import type { RepositoryName } from '../../oci/repository-name.ts'
import type { CatalogReads, ManifestReference } from '../catalog.ts'
import type { ReadsOver } from '../catalog-over.ts'
import { notYetCounting } from '../refusal-times.ts'
import type { RepositoryKey } from '../repository-key.ts'
import { digestFromBytes, digestToBytes } from './digest-bytes.ts'
import {
  blobIn,
  bytesBehind,
  holderIn,
  holdingIn,
  keyed,
  keyIn,
  number,
  parsed,
  pinIn,
  text,
  texts,
  time,
  uploadIn,
  wishIn,
} from './rows.ts'
import { DamagedRecord } from './sqlite-errors.ts'
import type { Statements } from './statements.ts'

const everything = -1
/** Of all times. */
const [earliest, latest] = [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER]

/** Of the questions, those to a connection: how much there is the writer knows. */
export type Question = Exclude<keyof CatalogReads, 'usage'>

/** The questions to the catalog, over a connection. Each throws DamagedRecord where a row is not what was written. */
export const sqliteReads: Pick<ReadsOver<Statements>, Question> = {
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
    return row && holdingIn(row)
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

  keeping(statements, digest, limit) {
    return statements.all('keeping', digestToBytes(digest), limit).map(holderIn)
  },

  holders(statements, digest, limit) {
    const bytes = digestToBytes(digest)
    const forAnyone = statements.all('holdersForAnyone', bytes, limit).map(holderIn)
    return [
      ...forAnyone,
      ...statements.all('holdersForAccount', bytes, limit - forAnyone.length).map(holderIn),
    ]
  },

  namers(statements, digest, { after, limit }) {
    const from = after === undefined ? ['', ''] : keyed(after)
    const rows = statements.all('namers', ...from, digestToBytes(digest), limit)
    const last = rows.length === limit ? rows.at(-1) : undefined
    return {
      repositories: rows.filter((row) => row.is_naming === 1).map(keyIn),
      last: last && keyIn(last),
    }
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
    const named = digestToBytes(target)
    const rows = statements.all('naming', ...keyed(repository), named, kind, bytesBehind(after), limit)
    return rows.map((row) => ({
      manifest: digestFromBytes(row.manifest),
      artifactType: text(row.artifact_type),
    }))
  },

  blob(statements, digest) {
    const row = statements.get('blob', digestToBytes(digest))
    return row && blobIn(row)
  },

  blobs(statements, { after, limit }) {
    const rows = statements.all('blobs', bytesBehind(after), limit)
    return rows.map((row) => ({ digest: digestFromBytes(row.digest), ...blobIn(row) }))
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
    return statements.all('removals', bytesBehind(after), limit).map((row) => digestFromBytes(row.digest))
  },

  leastRecent(statements, { before = latest, after, limit }) {
    const behind = [after?.usedAt ?? earliest, bytesBehind(after?.digest)]
    return statements.all('leastRecent', before, ...behind, limit).map((row) => ({
      digest: digestFromBytes(row.digest),
      size: number(row.size),
      usedAt: number(row.used_at),
      fetchedAt: number(row.mtime),
    }))
  },

  unverified(statements, before, limit) {
    return statements.all('unverified', before, limit).map((row) => digestFromBytes(row.digest))
  },

  pins(statements) {
    return statements.all('pins').map(pinIn)
  },

  fact(statements, name) {
    const row = statements.get('fact', name)
    return row && number(row.value)
  },

  upload(statements, id) {
    const row = statements.get('upload', id)
    return row && uploadIn(row)
  },

  staleUploads(statements, before, limit) {
    return statements.all('staleUploads', before, limit).map(uploadIn)
  },

  wishes(statements) {
    return statements.all('wishes').map(wishIn)
  },
}

/** What each question is answered where nothing can be read. */
export const misses: { readonly [Name in Question]: Awaited<ReturnType<CatalogReads[Name]>> } = {
  repository: undefined,
  repositories: [],
  listed: { names: [], last: undefined },
  isPushed: false,
  held: undefined,
  named: undefined,
  isFree: false,
  localHolders: [],
  keeping: [],
  holders: [],
  namers: { repositories: [], last: undefined },
  manifest: undefined,
  tag: undefined,
  tags: [],
  referrers: undefined,
  naming: [],
  blob: undefined,
  blobs: [],
  idle: [],
  removals: [],
  leastRecent: [],
  unverified: [],
  pins: [],
  fact: undefined,
  upload: undefined,
  staleUploads: [],
  wishes: [],
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
