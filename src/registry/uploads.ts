import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import { bestEffort } from '../flow/best-effort.ts'
import { tellSeldom } from '../flow/seldom.ts'
import { Shares } from '../flow/shares.ts'
import type { Digest, DigestAlgorithm } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { BlobWriters } from '../storage/blob-writer.ts'
import type { Catalog } from '../storage/catalog.ts'
import type { SealedFile } from '../storage/partial.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import { IdleUploads } from './idle-uploads.ts'
import type { PushedBytes } from './pushed-bytes.ts'
import type { PushOptions, UploadState } from './repository.ts'
import { type Appending, UploadSession, type UploadSessionOptions, uploadUnknown } from './upload-session.ts'
import { UploadSpace, type UploadSpaceOptions } from './upload-space.ts'
import { type UploadClock, UploadSweep } from './upload-sweep.ts'
import { WritingTurn } from './writing-turn.ts'

export interface UploadsOptions extends Pick<UploadSpaceOptions, 'space' | 'idleMs' | 'restMs'> {
  readonly bytes: PushedBytes
  readonly files: Pick<BlobWriters, 'list' | 'remove'>
  readonly catalog: Pick<Catalog, 'beginUpload' | 'endUpload' | 'upload' | 'staleUploads' | 'pushed'>
  readonly logger: Logger
  /** Milliseconds for which a turn to write is waited for. */
  readonly patienceMs?: number | undefined
  /** Milliseconds without bytes after which a turn to write is given to others who wait. */
  readonly silentMs?: number | undefined
  /** Milliseconds without bytes after which nobody comes back for an upload (`local.uploadTtl`). */
  readonly ttlMs?: number | undefined
  readonly clock?: UploadClock | undefined
}

const defaultTtlMs = 24 * 60 * 60_000
/** Uploads that are written to at a time: each has a file open, and pulls need descriptors too. Others wait. */
const writing = { total: 128, perClient: 64 } as const
const defaultPatienceMs = 10_000
const defaultSilentMs = 1000
/** Bytes of all uploads that wait to be written, about, and what one has of it. */
const gathering = { total: 16 * 1024 * 1024, least: 64 * 1024, most: 256 * 1024 } as const

/**
 * The blobs on their way in from clients (distribution-spec "Pushing blobs"). An upload survives a restart: its row
 * tells whose it is, and its file how far it is. Dispose to put all of them aside.
 */
export class Uploads implements AsyncDisposable {
  readonly #options: UploadsOptions
  readonly #clock: UploadClock
  readonly #sessions = new Map<string, UploadSession>()
  /** Ended, and the row is about to go. */
  readonly #ended = new Set<string>()
  readonly #space: UploadSpace
  readonly #sweep: UploadSweep
  readonly #idle: IdleUploads
  readonly #recording = new Set<Promise<void>>()
  readonly #turns: Shares
  readonly #stopped = new AbortController()
  #writers = 0
  #adopting: Promise<void> = Promise.resolve()

  constructor(options: UploadsOptions) {
    this.#options = options
    const { patienceMs = defaultPatienceMs, silentMs: restMs = defaultSilentMs } = options
    this.#clock = options.clock ?? { wall: () => Date.now(), monotonic: () => performance.now() }
    this.#turns = new Shares({ ...writing, patienceMs, restMs })
    this.#idle = new IdleUploads(options.logger)
    const shared = { ...options, sessions: this.#sessions, clock: this.#clock }
    this.#space = new UploadSpace(shared)
    this.#sweep = new UploadSweep({ ...shared, ttlMs: options.ttlMs ?? defaultTtlMs })
  }

  /** Goes on with what earlier processes left, and sweeps now and then from now on. */
  start(): void {
    this.#adopting = bestEffort(this.#adopt(), (error) =>
      this.#options.logger.error({ err: error }, 'the uploads of before could not be looked through'),
    )
    this.#sweep.start()
  }

  /**
   * Its row is not waited for: where it is lost before its first bytes are acknowledged, the client begins this blob again.
   * Throws RegistryError TOOMANYREQUESTS (429) where thousands are under way, UNAVAILABLE (503) while the mirror stops.
   */
  begin(
    repository: RepositoryKey,
    {
      algorithm,
      user: owner,
      client = '',
    }: PushOptions & { readonly algorithm?: DigestAlgorithm | undefined },
  ): UploadState {
    this.#stopped.signal.throwIfAborted()
    this.#space.makePlace(countedFor(owner) ?? client)
    const id = `upload-${randomUUID()}`
    const recorded = this.#recorded(this.#options.catalog.beginUpload(id, repository, Date.now(), owner))
    this.#add({ id, repository, owner }, { client, size: 0, algorithm, recorded })
    return { id, offset: 0 }
  }

  /** Throws RegistryError BLOB_UPLOAD_UNKNOWN (404). */
  async state(repository: RepositoryKey, id: string, { user }: PushOptions): Promise<UploadState> {
    const session = await this.#find(repository, id, user)
    return this.#during(session, async () => ({ id, offset: await session.offset() }))
  }

  /** As `Pushing.append`. */
  async append(
    repository: RepositoryKey,
    id: string,
    body: AsyncIterable<Uint8Array>,
    options: Appending,
  ): Promise<UploadState> {
    const offset = await this.#inTurn(repository, id, body, options, (session, pieces) =>
      session.append(pieces, options),
    )
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
    const record = (file: SealedFile) => catalog.pushed(repository, digest, file, Date.now(), id)
    await this.#inTurn(repository, id, body, options, (session, pieces) =>
      session.finish(digest, pieces, { ...options, record }),
    )
  }

  /** As `Pushing.cancel`. */
  async cancel(repository: RepositoryKey, id: string, { user, signal }: PushOptions): Promise<void> {
    const session = await this.#find(repository, id, user)
    await session.cancel(signal)
  }

  /** Removes once what nobody came back for. Throws StorageError. */
  sweep(): Promise<void> {
    return this.#sweep.sweep()
  }

  /** Closes the files that no request writes to at the moment. */
  closeIdle(): void {
    this.#idle.closeAll()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const message = 'the mirror is stopping; what was uploaded is kept: go on when it is back'
    const reason = new RegistryError('UNAVAILABLE', message)
    this.#stopped.abort(reason)
    await this.#sweep[Symbol.asyncDispose]()
    await this.#adopting
    this.#idle[Symbol.dispose]()
    const stopping = [...this.#sessions.values()].map((session) =>
      bestEffort(session.stop(reason), (err) =>
        tellSeldom(
          this.#options.logger,
          'warn',
          { err, upload: session.id },
          'the file of an upload could not be closed',
        ),
      ),
    )
    await Promise.all(stopping)
    await Promise.all(this.#recording)
  }

  /** The body of whoever waits is not read, so that its client waits as well. */
  async #inTurn<Value>(
    repository: RepositoryKey,
    id: string,
    body: AsyncIterable<Uint8Array>,
    { signal: left, client = '', user }: Appending,
    write: (session: UploadSession, pieces: AsyncIterable<Uint8Array>) => Promise<Value>,
  ): Promise<Value> {
    const stopped = this.#stopped.signal
    const signal = left ? AbortSignal.any([left, stopped]) : stopped
    const session = await this.#find(repository, id, user)
    using _ = session.use.begin(countedFor(user) ?? client)
    using turn = await WritingTurn.take(this.#turns, client, signal)
    const pause = (): Promise<void> => session.putAside()
    this.#writers += 1
    try {
      return await this.#during(session, () =>
        write(session, turn.during(body, { client, signal, stopped, pause })),
      )
    } finally {
      this.#writers -= 1
    }
  }

  async #find(repository: RepositoryKey, id: string, user: string | undefined): Promise<UploadSession> {
    const isKnown = this.#sessions.has(id) || this.#ended.has(id)
    const row = isKnown ? undefined : await this.#options.catalog.upload(id)
    this.#stopped.signal.throwIfAborted()
    // Another request may have brought it back meanwhile.
    const known = this.#sessions.get(id) ?? (row && this.#add(row, { size: undefined }))
    if (known?.isOf(repository, user) && !this.#ended.has(id)) return known
    throw uploadUnknown()
  }

  #add(
    { id, repository, owner }: Pick<UploadSessionOptions, 'id' | 'repository' | 'owner'>,
    known: Pick<UploadSessionOptions, 'client' | 'size' | 'algorithm' | 'foundAt' | 'recorded'>,
  ): UploadSession {
    const { bytes, files, catalog } = this.#options
    const onEnd: UploadSessionOptions['onEnd'] = (end) => {
      this.#sessions.delete(id)
      this.#idle.wake(session)
      if (end === 'left') this.#sweep.leave(id)
      // The row of a blob went when it was recorded.
      if (end !== 'gone') return
      this.#ended.add(id)
      void this.#recorded(catalog.endUpload(id)).finally(() => this.#ended.delete(id))
    }
    const session = new UploadSession({
      id,
      repository,
      owner,
      bytes,
      remove: (of) => files.remove(of),
      take: (asking, count) => this.#space.makeRoom(asking, count),
      pieceBytes: () => Math.max(gathering.least, Math.min(gathering.most, gathering.total / this.#writers)),
      onEnd,
      now: this.#clock.monotonic,
      ...known,
      client: countedFor(owner) ?? known.client,
    })
    this.#sessions.set(id, session)
    return session
  }

  /** What earlier processes left: with a row it can be gone on with, without one nobody finds it. */
  async #adopt(): Promise<void> {
    const { files, catalog } = this.#options
    for (const { id, size, touchedAt: foundAt } of await files.list()) {
      if (this.#stopped.signal.aborted) return
      if (this.#sessions.has(id)) continue
      const row = await catalog.upload(id)
      if (this.#sessions.has(id)) continue
      if (row) this.#add(row, { size, foundAt })
      else await files.remove(id)
    }
  }

  async #during<Value>(session: UploadSession, work: () => Promise<Value>): Promise<Value> {
    this.#idle.wake(session)
    try {
      return await work()
    } finally {
      this.#idle.rest(session)
    }
  }

  async #recorded(writing: Promise<unknown>): Promise<void> {
    const recording = bestEffort(writing, (err) =>
      tellSeldom(
        this.#options.logger,
        'error',
        { err },
        'that a client uploads could not be recorded: going on',
      ),
    )
    this.#recording.add(recording)
    await recording
    this.#recording.delete(recording)
  }
}

/** A user has one share, wherever the requests come from. */
function countedFor(user: string | undefined): string | undefined {
  return user === undefined ? undefined : `user ${user}`
}
