import type { Digest } from '../../oci/digest.ts'
import type { Reference } from '../../oci/reference.ts'
import type { RepositoryName } from '../../oci/repository-name.ts'
import type { Holding, RepositoryHolding } from '../catalog.ts'
import type { PinPattern, PinRecord } from '../pins.ts'
import { nameOf, originOf, type RepositoryKey, repositoryKey } from '../repository-key.ts'
import type { BlobRow } from '../stored-bytes.ts'
import type { UploadRecord } from '../upload-records.ts'
import type { Wish } from '../wishes.ts'
import { digestToBytes } from './digest-bytes.ts'
import { DamagedRecord } from './sqlite-errors.ts'
import type { SqlRow, SqlValue } from './statements.ts'

// What is asked of SQLite, and what its rows say. All throw DamagedRecord where a row is not what was written.

/** Origin and name. */
export function keyed(repository: RepositoryKey): [SqlValue & string, SqlValue & string] {
  return [originOf(repository), nameOf(repository)]
}

/** For a page by digest: what is behind this one, or all. */
export function bytesBehind(after: Digest | undefined): Uint8Array {
  return after === undefined ? new Uint8Array() : digestToBytes(after)
}

export function holdingIn(row: SqlRow): Holding {
  return {
    mediaType: text(row.media_type),
    publicAt: time(row.public_at),
    accountAt: time(row.account_at),
    localAt: time(row.local_at),
    pinnedAt: time(row.pinned_at),
    idleSince: time(row.idle_since),
    refusedSince: time(row.refused_since),
  }
}

export function holderIn(row: SqlRow): RepositoryHolding {
  return { repository: keyIn(row), ...holdingIn(row) }
}

export function blobIn(row: SqlRow): BlobRow {
  return {
    size: number(row.size),
    mtime: number(row.mtime),
    inode: number(row.inode),
    usedAt: number(row.used_at),
    verifiedAt: number(row.verified_at),
    kept: row.kept === 1,
  }
}

export function keyIn(row: SqlRow): RepositoryKey {
  return repositoryKey(text(row.origin) ?? '', (text(row.name) ?? '') as RepositoryName)
}

export function pinIn(row: SqlRow): PinRecord {
  return { pattern: patternIn(row), pinnedAt: number(row.pinned_at) }
}

export function patternIn(row: SqlRow): PinPattern {
  const [origin = '', repository = '', tag = ''] = [text(row.origin), text(row.repository), text(row.tag)]
  return { origin, repository, tag }
}

export function wishIn(row: SqlRow): Wish {
  return {
    repository: repositoryKey(text(row.origin) ?? '', text(row.repository) as RepositoryName),
    reference: text(row.reference) as Reference,
    kind: row.kind === 'blob' ? 'blob' : 'manifest',
    platform: text(row.platform),
    askedAt: number(row.asked_at),
    dueAt: number(row.due_at),
  }
}

export function uploadIn(row: SqlRow): UploadRecord {
  return {
    id: text(row.id) ?? '',
    repository: text(row.repository) as RepositoryKey,
    owner: text(row.owner),
    begunAt: number(row.begun_at),
    touchedAt: number(row.touched_at),
  }
}

export function number(value: unknown): number {
  if (typeof value !== 'number') throw new DamagedRecord('a number in the catalog is none')
  return value
}

/** A number that need not be there. */
export function time(value: unknown): number | undefined {
  return value === null ? undefined : number(value)
}

export function text(value: unknown): string | undefined {
  if (value === null || value === undefined) return undefined
  if (typeof value !== 'string') throw new DamagedRecord('a text in the catalog is none')
  return value
}

export function parsed(list: unknown) {
  try {
    return JSON.parse(text(list) ?? '')
  } catch (error) {
    throw new DamagedRecord('a list in the catalog is none', { cause: error })
  }
}

/** A list of texts that SQLite wrote as JSON. Those without an escape are split, three times as fast as they are parsed. */
export function texts(list: unknown, count: unknown): string[] {
  const json = text(list) ?? ''
  const plain = json.startsWith('["') && !json.includes('\\') ? json.slice(2, -2).split('","') : undefined
  // What is no text among them has no quotes, and is not split off.
  if (plain !== undefined && plain.length === count) return plain
  return parsed(json).map((value: unknown) => text(value) ?? '')
}
