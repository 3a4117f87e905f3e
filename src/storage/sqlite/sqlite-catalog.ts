import { once } from 'node:events'
import { rename, rm } from 'node:fs/promises'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import type { Digest } from '../../oci/digest.ts'
import type { Tag } from '../../oci/reference.ts'
import type {
  BlobRecord,
  Catalog,
  ManifestRecord,
  PublicityRecord,
  ReferrersRecord,
  RepositoryId,
  TagRecord,
} from '../catalog.ts'
import { type CatalogWrite, readStatements, type SqlValue } from './catalog-statements.ts'
import type { WriterReply } from './catalog-writer.ts'
import { migrate } from './migrations/migrate.ts'
import { sqliteCode, sqliteCorrupt, sqliteNotADatabase } from './sqlite-errors.ts'

/**
 * The catalog in SQLite (WAL). Reads run here, on a connection of their own; writes run in a worker thread, so
 * that a slow disk never stalls a transfer, and resolve once they are synced.
 */
export class SqliteCatalog implements Catalog {
  readonly #reader: DatabaseSync
  readonly #writer: Worker
  readonly #statements: Record<keyof typeof readStatements, StatementSync>
  readonly #waiting = new Map<number, PromiseWithResolvers<void>>()
  #nextId = 0
  #writerFailure: Error | undefined

  private constructor(reader: DatabaseSync, writer: Worker) {
    this.#reader = reader
    this.#writer = writer
    this.#statements = {
      tag: reader.prepare(readStatements.tag),
      tags: reader.prepare(readStatements.tags),
      manifest: reader.prepare(readStatements.manifest),
      referrers: reader.prepare(readStatements.referrers),
      publicity: reader.prepare(readStatements.publicity),
      blob: reader.prepare(readStatements.blob),
    }
    writer.on('message', (reply: WriterReply) => this.#settle(reply))
    writer.on('error', (error) => this.#failAll(error))
    writer.on('exit', () => this.#failAll(new Error("the catalog's writer has ended")))
  }

  /**
   * Opens the catalog in the file at `path`, made where it is missing, and brings it to the newest schema. A damaged
   * one is set aside, which `onDamaged` is told: the bytes are in the blob store, and what may be read comes back
   * with the next pulls.
   */
  static async open(path: string, onDamaged?: (keptAs: string) => void): Promise<SqliteCatalog> {
    try {
      return await SqliteCatalog.#openFile(path)
    } catch (error) {
      const code = sqliteCode(error)
      if (code !== sqliteCorrupt && code !== sqliteNotADatabase) throw error
      const keptAs = `${path}.damaged-${new Date().toISOString().replaceAll(':', '')}`
      await rename(path, keptAs)
      for (const ending of ['-wal', '-shm']) await rm(path + ending, { force: true })
      onDamaged?.(keptAs)
      return SqliteCatalog.#openFile(path)
    }
  }

  static async #openFile(path: string): Promise<SqliteCatalog> {
    const database = new DatabaseSync(path, { timeout: 10_000 })
    try {
      database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON')
      migrate(database)
      // The writer is a file beside this one, with this one's ending: .ts here, .js in the built package.
      const source = new URL(import.meta.url.replace(/sqlite-catalog(\.\w+)$/, 'catalog-writer$1'))
      const writer = new Worker(source, { workerData: { path } })
      // It tells once that it has opened the file; where it cannot, `once` rejects with its error.
      await once(writer, 'message')
      return new SqliteCatalog(database, writer)
    } catch (error) {
      database.close()
      throw error
    }
  }

  async tag(repository: RepositoryId, tag: Tag): Promise<TagRecord | undefined> {
    const row = this.#statements.tag.get(repository.upstream, repository.name, tag)
    return row && { digest: row.digest as Digest, checkedAt: Number(row.checked_at) }
  }

  async tags(repository: RepositoryId): Promise<Tag[]> {
    return this.#statements.tags.all(repository.upstream, repository.name).map((row) => row.name as Tag)
  }

  async manifest(repository: RepositoryId, digest: Digest): Promise<ManifestRecord | undefined> {
    const row = this.#statements.manifest.get(repository.upstream, repository.name, digest)
    return row && { digest, mediaType: String(row.media_type), bytes: row.bytes as Uint8Array }
  }

  async blob(repository: RepositoryId, digest: Digest): Promise<BlobRecord | undefined> {
    const row = this.#statements.blob.get(repository.upstream, repository.name, digest)
    return row && { digest, size: row.size === null ? undefined : Number(row.size) }
  }

  async saveManifest(
    repository: RepositoryId,
    manifest: ManifestRecord,
    blobs: readonly BlobRecord[],
  ): Promise<void> {
    await this.#write(repository, [
      { statement: 'addManifest', parameters: [manifest.digest, manifest.bytes] },
      { statement: 'linkManifest', parameters: [...keyOf(repository), manifest.digest, manifest.mediaType] },
      ...blobs.map((blob) => linkBlob(repository, blob)),
    ])
  }

  async saveTag(repository: RepositoryId, tag: Tag, record: TagRecord): Promise<void> {
    const parameters = [...keyOf(repository), tag, record.digest, record.checkedAt]
    await this.#write(repository, [{ statement: 'setTag', parameters }])
  }

  async referrers(repository: RepositoryId, subject: Digest): Promise<ReferrersRecord | undefined> {
    const row = this.#statements.referrers.get(repository.upstream, repository.name, subject)
    return row && { referrers: JSON.parse(String(row.descriptors)), checkedAt: Number(row.checked_at) }
  }

  async saveReferrers(repository: RepositoryId, subject: Digest, record: ReferrersRecord): Promise<void> {
    const { referrers, checkedAt } = record
    const parameters = [...keyOf(repository), subject, JSON.stringify(referrers), checkedAt]
    await this.#write(repository, [{ statement: 'setReferrers', parameters }])
  }

  async publicity(repository: RepositoryId): Promise<PublicityRecord | undefined> {
    const row = this.#statements.publicity.get(repository.upstream, repository.name)
    if (!row || row.is_public === null) return undefined
    return { isPublic: row.is_public === 1, askedAt: Number(row.public_asked_at ?? 0) }
  }

  async savePublicity(repository: RepositoryId, { isPublic, askedAt }: PublicityRecord): Promise<void> {
    const parameters = [...keyOf(repository), Number(isPublic), askedAt]
    await this.#write(repository, [{ statement: 'setPublicity', parameters }])
  }

  async saveBlob(repository: RepositoryId, blob: BlobRecord): Promise<void> {
    await this.#write(repository, [linkBlob(repository, blob)])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#writerFailure) {
      const ended = once(this.#writer, 'exit')
      this.#writer.postMessage(undefined)
      await ended
    }
    this.#reader.close()
  }

  async #write(repository: RepositoryId, writes: readonly CatalogWrite[]): Promise<void> {
    if (this.#writerFailure) throw this.#writerFailure
    const id = this.#nextId++
    const done = Promise.withResolvers<void>()
    this.#waiting.set(id, done)
    const all = [{ statement: 'addRepository', parameters: keyOf(repository) }, ...writes]
    this.#writer.postMessage({ id, writes: all })
    await done.promise
  }

  #settle({ id, error }: WriterReply): void {
    const done = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (error === undefined) done?.resolve()
    else done?.reject(new Error(`the catalog could not be written: ${error}`))
  }

  #failAll(error: Error): void {
    this.#writerFailure ??= error
    for (const done of this.#waiting.values()) done.reject(error)
    this.#waiting.clear()
  }
}

function keyOf({ upstream, name }: RepositoryId): SqlValue[] {
  return [upstream, name]
}

function linkBlob(repository: RepositoryId, { digest, size }: BlobRecord): CatalogWrite {
  return { statement: 'linkBlob', parameters: [...keyOf(repository), digest, size ?? null] }
}
