import { DatabaseSync } from 'node:sqlite'
import type { Digest } from '../../../src/oci/digest.ts'
import type { ManifestRecord } from '../../../src/storage/catalog.ts'
import { nameOf, originOf, type RepositoryKey } from '../../../src/storage/repository-key.ts'
import { mirror } from '../../../src/storage/sqlite/migrations/0001-mirror.ts'
import { referrers } from '../../../src/storage/sqlite/migrations/0002-referrers.ts'
import { publicAskedAt } from '../../../src/storage/sqlite/migrations/0003-public-asked-at.ts'

const repository = '(SELECT id FROM repository WHERE upstream = ?1 AND name = ?2)'

/** A catalog as version 0.1.0 of the program wrote it: its tables, and its statements word for word. */
export class OldCatalog implements Disposable {
  readonly #database: DatabaseSync

  constructor(path: string) {
    this.#database = new DatabaseSync(path)
    const statements = `${mirror}; ${referrers}; ${publicAskedAt}; PRAGMA user_version = 3; COMMIT`
    this.#database.exec(`PRAGMA journal_mode = WAL; BEGIN; ${statements}; BEGIN`)
  }

  /** `blobs`: those that the manifest lets its repository read. */
  saveManifest(key: RepositoryKey, manifest: ManifestRecord, blobs: readonly Digest[]): void {
    this.#addRepository(key)
    this.#run('INSERT INTO manifest (digest, bytes) VALUES (?, ?) ON CONFLICT DO NOTHING', [
      manifest.digest,
      manifest.bytes,
    ])
    this.#run(
      `INSERT INTO repository_manifest VALUES (${repository}, ?, ?)
        ON CONFLICT DO UPDATE SET media_type = excluded.media_type`,
      [originOf(key), nameOf(key), manifest.digest, manifest.mediaType],
    )
    for (const blob of blobs) this.saveBlob(key, blob)
  }

  saveBlob(key: RepositoryKey, blob: Digest, size: number | null = null): void {
    this.#addRepository(key)
    this.#run(
      `INSERT INTO repository_blob VALUES (${repository}, ?, ?)
        ON CONFLICT DO UPDATE SET size = coalesce(excluded.size, size)`,
      [originOf(key), nameOf(key), blob, size],
    )
  }

  saveTag(key: RepositoryKey, tag: string, digest: Digest, checkedAt: number): void {
    this.#addRepository(key)
    this.#run(
      `INSERT INTO tag VALUES (${repository}, ?, ?, ?)
        ON CONFLICT DO UPDATE SET digest = excluded.digest, checked_at = excluded.checked_at`,
      [originOf(key), nameOf(key), tag, digest, checkedAt],
    )
  }

  saveReferrers(key: RepositoryKey, subject: Digest, descriptors: string, checkedAt: number): void {
    this.#addRepository(key)
    this.#run(
      `INSERT INTO referrers VALUES (${repository}, ?, ?, ?)
        ON CONFLICT DO UPDATE SET descriptors = excluded.descriptors, checked_at = excluded.checked_at`,
      [originOf(key), nameOf(key), subject, descriptors, checkedAt],
    )
  }

  savePublicity(key: RepositoryKey, isPublic: boolean, askedAt: number | null): void {
    this.#addRepository(key)
    this.#run(
      'UPDATE repository SET is_public = ?3, public_asked_at = ?4 WHERE upstream = ?1 AND name = ?2',
      [originOf(key), nameOf(key), Number(isPublic), askedAt],
    )
  }

  [Symbol.dispose](): void {
    this.#database.exec('COMMIT')
    this.#database.close()
  }

  #addRepository(key: RepositoryKey): void {
    this.#run('INSERT INTO repository (upstream, name) VALUES (?, ?) ON CONFLICT DO NOTHING', [
      originOf(key),
      nameOf(key),
    ])
  }

  #run(sql: string, parameters: (string | number | null | Uint8Array)[]): void {
    this.#database.prepare(sql).run(...parameters)
  }
}

/** Tables that the old catalog had and the new one has not. */
export function oldTablesIn(path: string): string[] {
  using database = new DatabaseSync(path)
  const rows = database
    .prepare(
      `SELECT name FROM sqlite_schema WHERE name LIKE 'old%' OR name GLOB '*_history*' OR name GLOB 'repository_*'`,
    )
    .all()
  return rows.map(({ name }) => String(name))
}
