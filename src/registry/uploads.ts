import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import { bestEffort } from '../flow/best-effort.ts'
import { IntervalJob } from '../flow/interval-job.ts'
import type { Digest } from '../oci/digest.ts'
import type { Catalog } from '../storage/catalog.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import type { UploadState } from './repository.ts'
import { type Appending, type PushedBytes, UploadSession, uploadUnknown } from './upload-session.ts'

export interface UploadsOptions {
  readonly bytes: PushedBytes
  /** Removes the file of an upload. */
  readonly remove: (id: string) => Promise<void>
  readonly catalog: Pick<
    Catalog,
    'beginUpload' | 'touchUpload' | 'endUpload' | 'upload' | 'staleUploads' | 'pushed'
  >
  readonly logger: Logger
}

/** Milliseconds after which a session that pauses is put aside: its file is closed, and opened when it goes on. */
const asideMs = 2 * 60_000
/** Milliseconds after which nobody comes back for an upload. */
const staleMs = 24 * 60 * 60_000
const sweepEveryMs = 60_000
const sweptAtOnce = 100

/**
 * The blobs on their way in from clients (distribution-spec "Pushing blobs"). An upload survives a restart: its row
 * tells whose it is, and its file how far it is. Dispose to put all of them aside.
 */
export class Uploads implements AsyncDisposable {
  readonly #options: UploadsOptions
  readonly #sessions = new Map<string, UploadSession>()
  /** Ended, and the row is about to go. */
  readonly #ended = new Set<string>()
  readonly #sweeper: IntervalJob

  constructor(options: UploadsOptions) {
    this.#options = options
    this.#sweeper = new IntervalJob(() => this.sweep(Date.now()), {
      intervalMs: sweepEveryMs,
      onError: (error) => options.logger.error({ err: error }, 'old uploads could not be looked through'),
    })
  }

  /** Sweeps every minute from now on. */
  start(): void {
    this.#sweeper.start()
  }

  /** Its row is not waited for: where it is lost with the power, the client begins this blob again. */
  begin(repository: RepositoryKey): UploadState {
    const id = `upload-${randomUUID()}`
    this.#sessions.set(id, new UploadSession({ id, repository, bytes: this.#options.bytes, isNew: true }))
    void this.#recorded(this.#options.catalog.beginUpload(id, repository, Date.now()))
    return { id, offset: 0 }
  }

  /** Throws RegistryError BLOB_UPLOAD_UNKNOWN (404). */
  async state(repository: RepositoryKey, id: string): Promise<UploadState> {
    const session = await this.#find(repository, id)
    return { id, offset: await session.offset() }
  }

  /** As `Pushing.append`. */
  async append(
    repository: RepositoryKey,
    id: string,
    body: AsyncIterable<Uint8Array>,
    options: Appending,
  ): Promise<UploadState> {
    const session = await this.#find(repository, id)
    const offset = await session.append(body, options)
    void this.#recorded(this.#options.catalog.touchUpload(id, Date.now()))
    return { id, offset }
  }

  /** As `Pushing.finish`: once it resolves, the blob and that the repository holds it survive the power. */
  async finish(
    repository: RepositoryKey,
    id: string,
    digest: Digest,
    body: AsyncIterable<Uint8Array>,
    options: Appending,
  ): Promise<void> {
    const { catalog } = this.#options
    const session = await this.#find(repository, id)
    await session.finish(digest, body, {
      ...options,
      record: (file) => catalog.pushed(repository, digest, file, Date.now()),
      onEnd: () => {
        this.#sessions.delete(id)
        this.#ended.add(id)
        void this.#recorded(catalog.endUpload(id)).finally(() => this.#ended.delete(id))
      },
    })
  }

  /** Puts aside what pauses, and removes what nobody came back for. `now`: milliseconds since the epoch. */
  async sweep(now: number): Promise<void> {
    const { catalog, remove } = this.#options
    for (const session of [...this.#sessions.values()]) {
      if (!session.isIdle || now - session.usedAt < asideMs) continue
      await session.putAside(new Error('nobody has gone on with this upload for a while'))
      // Somebody may have gone on meanwhile.
      if (session.isIdle && now - session.usedAt >= asideMs) this.#sessions.delete(session.id)
    }
    for (const { id } of await catalog.staleUploads(now - staleMs, sweptAtOnce)) {
      if (this.#sessions.has(id)) continue
      await remove(id)
      await catalog.endUpload(id)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sweeper[Symbol.asyncDispose]()
    const reason = new Error('the mirror is stopping; what was uploaded is kept')
    await Promise.all([...this.#sessions.values()].map((session) => session.putAside(reason)))
  }

  async #find(repository: RepositoryKey, id: string): Promise<UploadSession> {
    const isKnown = this.#sessions.has(id) || this.#ended.has(id)
    const row = isKnown ? undefined : await this.#options.catalog.upload(id)
    // Another request may have brought it back meanwhile.
    const known = this.#sessions.get(id) ?? (row && this.#resume(id, row.repository))
    if (known?.repository === repository && !this.#ended.has(id)) return known
    throw uploadUnknown()
  }

  #resume(id: string, repository: RepositoryKey): UploadSession {
    const session = new UploadSession({ id, repository, bytes: this.#options.bytes, isNew: false })
    this.#sessions.set(id, session)
    return session
  }

  async #recorded(writing: Promise<unknown>): Promise<void> {
    await bestEffort(writing, (error) =>
      this.#options.logger.error({ err: error }, 'that a client uploads could not be recorded: going on'),
    )
  }
}
