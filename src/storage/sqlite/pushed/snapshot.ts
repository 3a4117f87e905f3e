import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import type { Tag } from '../../../oci/reference.ts'
import type { RepositoryName } from '../../../oci/repository-name.ts'
import type { ManifestReference } from '../../catalog.ts'
import { localOrigin, repositoryKey } from '../../repository-key.ts'
import { digestFromBytes } from '../digest-bytes.ts'
import type { ManifestPut, Numbered } from './change.ts'

/** Bytes of manifests that are read at a time. */
const stepSize = 32 * 1024
/** What one costs at least. */
const overhead = 1024

/** In the order of an index (`CROSS JOIN` says so): else each step would sort them all. */
const manifests = `SELECT id, name, holding.digest AS digest, media_type, local_at, idle_since, bytes
  FROM holding CROSS JOIN repository ON id = repository CROSS JOIN manifest ON manifest.digest = holding.digest
  WHERE media_type IS NOT NULL AND local_at IS NOT NULL AND origin = '${localOrigin}'
    AND (repository, holding.digest) > (?, ?) ORDER BY repository, holding.digest`

/**
 * What was pushed here, as the changes that would bring it about, in steps that keep nobody waiting. Between two of them the
 * catalog may change: whoever writes down each such change when it happens, and these steps as they come, has a record
 * that ends in what is there.
 */
export class Snapshot {
  readonly #manifests: StatementSync
  readonly #named: StatementSync
  readonly #tags: StatementSync
  #pins: StatementSync | undefined
  #after: SQLInputValue[] = [-1, new Uint8Array()]

  constructor(database: DatabaseSync) {
    this.#pins = database.prepare('SELECT origin, repository, tag, pinned_at FROM pin')
    this.#manifests = database.prepare(manifests)
    this.#named = database.prepare(
      `SELECT target, kind, size, artifact_type FROM reference INDEXED BY reference_of
        WHERE repository = ? AND manifest = ?`,
    )
    this.#tags = database.prepare(
      'SELECT name, checked_at FROM tag INDEXED BY tag_of WHERE repository = ? AND digest = ?',
    )
  }

  /** The next ones; none at the end. Throws what SQLite says, and DamagedRecord. */
  next(): Numbered[] {
    const found = this.#pinned()
    let size = 0
    for (const row of this.#manifests.iterate(...this.#after)) {
      this.#after = [Number(row.id), row.digest as Uint8Array]
      found.push(this.#putOf(row))
      size += (row.bytes as Uint8Array).length + overhead
      if (size > stepSize) break
    }
    return found
  }

  /** All of them at first: few people have many. */
  #pinned(): Numbered[] {
    const rows = this.#pins?.all() ?? []
    this.#pins = undefined
    return rows.map(({ origin, repository, tag, pinned_at }) => ({
      pin: { origin: String(origin), repository: String(repository), tag: String(tag) },
      at: Number(pinned_at),
    }))
  }

  #putOf(row: Record<string, unknown>): ManifestPut {
    const of = [row.id as number, row.digest as Uint8Array] as const
    return {
      put: repositoryKey(localOrigin, row.name as RepositoryName),
      digest: digestFromBytes(row.digest),
      mediaType: String(row.media_type),
      bytes: Buffer.from(row.bytes as Uint8Array).toString('base64'),
      references: this.#named.all(...of).map((one) => ({
        target: digestFromBytes(one.target),
        kind: one.kind as ManifestReference['kind'],
        ...(one.size === null ? {} : { size: Number(one.size) }),
        ...(one.artifact_type === null ? {} : { artifactType: String(one.artifact_type) }),
      })),
      tags: this.#tags.all(...of).map(({ name, checked_at }) => [name as Tag, Number(checked_at)] as const),
      at: Number(row.local_at),
      ...(row.idle_since === null ? {} : { idleSince: Number(row.idle_since) }),
    }
  }
}
