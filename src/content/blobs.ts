import { abortable } from '../flow/abortable.ts'
import { bestEffort } from '../flow/best-effort.ts'
import { KeyedLock } from '../flow/keyed-lock.ts'
import type { Pieces } from '../flow/pieces.ts'
import { tellSeldom } from '../flow/seldom.ts'
import type { Digest, DigestAlgorithm } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { BlobWriter } from '../storage/blob-writer.ts'
import { StorageError } from '../storage/error.ts'
import type { Partial, SealedFile } from '../storage/partial.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import type { BlobRecords } from './blob-records.ts'
import { BlobUse } from './blob-use.ts'
import type { StoredParts } from './damage.ts'
import { WatchedDisk } from './disk-state.ts'
import { Documents } from './documents.ts'
import { type BlobLimits, eviction } from './eviction.ts'
import type { Evicted, Evictor } from './evictor.ts'
import { missIfBroken } from './file-checks.ts'
import type { Fill } from './fill.ts'
import type { FillCounts } from './fill-counts.ts'
import { partialId } from './fill-options.ts'
import type { FetchAheadOptions, OpenedBlob, OpenOptions } from './opened-blob.ts'
import { closePartial } from './partial-ends.ts'
import { whenNotBusy } from './patience.ts'
import { Removal } from './removal.ts'
import type { Reservation } from './reservation.ts'
import { RunningFills, type RunningFillsOptions } from './running-fills.ts'
import type { Source } from './source.ts'
import type { Space } from './space.ts'
import { StoredBlobs } from './stored-blobs.ts'
import { storedSource } from './stored-source.ts'

export interface BlobsOptions
  extends RunningFillsOptions,
    Pick<StoredParts, 'maximumQuarantined' | 'scrubMs' | 'clock'> {
  readonly records: BlobRecords
  /** What is on its way is in their memory. */
  readonly pieces: Pieces
  /** See `WatchedDiskOptions`. */
  readonly probeMs?: number | undefined
  /** Undefined: it may have all that there is, and nothing is evicted. */
  readonly limits?: BlobLimits | undefined
}

/** Looks at a blob that is there and gone again before it is told. */
const maximumLooks = 5
const nobody: ReadonlySet<RepositoryKey> = new Set()

/** The one door to bytes: what is stored, what is on its way, what was pushed; and the one way for bytes to go. */
export class Blobs implements AsyncDisposable {
  /** Small content in memory. */
  readonly documents = new Documents()
  /** Whether the disk takes bytes. */
  readonly disk: WatchedDisk
  /** Whether there is room. */
  readonly space: Space
  readonly evictor: Evictor | undefined
  readonly #options: BlobsOptions
  /** What is stored, apart from what is on its way. */
  readonly stored: StoredBlobs
  readonly #removal: Removal
  /** Held over what changes files and records of a digest together. */
  readonly #lock = new KeyedLock<Digest>()
  readonly #use: BlobUse
  readonly #running: RunningFills
  #isStopped = false

  constructor(options: BlobsOptions) {
    this.#options = options
    this.disk = new WatchedDisk({ ...options, probe: () => this.probe() })
    this.#use = new BlobUse(options)
    const parts = { ...options, documents: this.documents, lock: this.#lock }
    this.#removal = new Removal({ ...parts, use: this.#use })
    const remove: Removal['remove'] = (...asked) => this.remove(...asked)
    const isOnItsWay = (digest: Digest): boolean => this.#running.of(digest) !== undefined
    const { space, evictor } = eviction({ ...options, use: this.#use, remove, isOnItsWay })
    this.space = space
    this.evictor = evictor
    this.#running = new RunningFills({
      ...options,
      space: this.space,
      disk: this.disk,
      isStored: async (digest) => (await this.stored.damage.stat(digest)) !== undefined,
      publish: (digest, partial) => this.#publish(digest, partial),
    })
    this.stored = new StoredBlobs({ ...parts, removal: this.#removal })
  }

  /** Fills under way. */
  get fillCount(): number {
    return this.#running.count
  }

  /** What became of fills so far, by the name of the upstream. */
  get fills(): ReadonlyMap<string, FillCounts> {
    return this.#running.byUpstream
  }

  /** Blobs that were handed through without being kept. */
  get handedThrough(): number {
    return this.#running.handedThrough
  }

  /** What was evicted. */
  get evicted(): Evicted {
    return this.evictor?.evicted ?? { blobs: 0, bytes: 0 }
  }

  /** Clients that had to wait for the end of another fill of theirs, and those of them that were sent away. */
  get clientWaits(): { readonly waited: number; readonly refused: number } {
    return this.#running.counts
  }

  /** The size of a stored blob in bytes; undefined where it is not stored, or damaged. */
  stat(...asked: Parameters<StoredBlobs['stat']>): ReturnType<StoredBlobs['stat']> {
    return this.stored.stat(...asked)
  }

  /** A reader of a stored blob, to be closed by the caller; undefined where it is not stored. */
  async openStored(digest: Digest): Promise<BlobReader | undefined> {
    const reader = await this.stored.open(digest)
    return reader && this.#use.counted(digest, reader)
  }

  /**
   * Opens a blob: what is stored, else what is on its way, to which `source` is one way more. Waits as `Fill.follow`
   * does. Rejects with the failure of `source` where it failed as all others did, with RegistryError TOOMANYREQUESTS
   * where the client has begun too much else, or when `signal` aborts; the fill goes on.
   */
  async open(digest: Digest, source: Source, options: OpenOptions = {}): Promise<OpenedBlob> {
    const { size: claim, client, ranges, since, signal } = options
    let status: OpenedBlob['status'] | undefined
    let confirmedBy = nobody
    let place: Disposable | undefined
    try {
      for (let look = 0; look < maximumLooks; look += 1) {
        const running = this.#running.of(digest)
        // Not before its partial is closed: the next fill opens the same one.
        if (running && isEnding(running)) await abortable(running.ended, signal)
        const stored = running?.takesFollowers
          ? undefined
          : await this.openStored(digest).catch(missIfBroken(this.disk))
        if (stored) return { reader: stored, status: status ?? 'hit', confirmedBy }
        // Nothing is begun for somebody who has left.
        signal?.throwIfAborted()
        let fill = this.#running.of(digest)
        if (fill && isEnding(fill)) continue
        const isFollowed = fill?.takesFollowers === true
        status ??= isFollowed ? 'joined' : 'miss'
        if (!fill || !isFollowed) {
          place ??= this.#running.tryPlace(client)
          if (!place) {
            place = await this.#running.placeOf(client, { signal, since })
            continue
          }
          this.#throwIfStopped()
          fill = this.#running.start(digest, source, { claim, place })
          place = undefined
        }
        confirmedBy = fill.confirmedBy
        const found = await fill.follow(source, { claim, client, ranges, signal })
        if (found !== 'stored' && found !== 'gone') {
          return { reader: this.#use.counted(digest, found), status, confirmedBy }
        }
      }
    } finally {
      place?.[Symbol.dispose]()
    }
    throw new RegistryError('BLOB_UNKNOWN', `${digest} was removed while it was asked for: try again`)
  }

  /**
   * Fetches a blob that nobody waits for yet, by `source`, as `background` says. Resolves when it is `stored`, or was; `joined`
   * at once where it is on its way already; `dropped` where `signal` aborted before somebody came for it, and what came of it
   * is kept; `failed` where that is in the log. Throws RegistryError UNAVAILABLE while the mirror stops.
   */
  async fetchAhead(
    digest: Digest,
    source: Source,
    ahead: FetchAheadOptions,
  ): Promise<'stored' | 'joined' | 'dropped' | 'failed'> {
    if (this.#running.of(digest)) return 'joined'
    if (await this.stored.stat(digest, { signal: ahead.signal })) return 'stored'
    this.#throwIfStopped()
    return this.#running.fetchAhead(digest, source, ahead)
  }

  /**
   * Opens what a push writes to: to be ended by the caller, by `seal` or its own methods. Throws RegistryError UNAVAILABLE
   * while the mirror stops, and StorageError.
   */
  async openWriter(id: string, algorithm: DigestAlgorithm, signal?: AbortSignal): Promise<BlobWriter> {
    this.#throwIfStopped()
    return whenNotBusy(() => this.#options.store.writers.open({ id, algorithm }), signal)
  }

  /** Rejects with StorageError while the disk takes nothing, or has no room for what is worth to be kept. */
  async probe(): Promise<void> {
    await this.#options.store.probe()
    if (await this.space.isFull()) throw new StorageError('FULL', 'the disk has next to no room left')
  }

  /** What is pushed could not be written; see `DiskState.refused`. */
  failed(error: unknown): void {
    this.disk.refused(error)
  }

  /** Room for bytes that are pushed; see `Space.reserve`. */
  reserve(...asked: Parameters<Space['reserve']>): Reservation {
    return this.space.reserve(...asked)
  }

  /**
   * Verifies and publishes what was pushed, and records it before anybody can remove it. A fill of the same digest takes the
   * rest of its bytes from it. Throws what `BlobWriter.verify` and `BlobWriter.seal` throw, and what `record` throws: then
   * the bytes go, since nobody would ever find them, unless they were here before.
   */
  async seal(
    writer: Pick<BlobWriter, 'verify' | 'seal'>,
    digest: Digest,
    record: (file: SealedFile) => Promise<void>,
  ): Promise<SealedFile> {
    const { store, records } = this.#options
    await writer.verify(digest)
    // Guards against this order: (1) an eviction's transaction takes the record of the digest away. (2) The file is
    // renamed to its place, and recorded. (3) The eviction unlinks the new file.
    const file = await this.#lock.run(digest, async () => {
      const before = await whenNotBusy(() => store.stat(digest))
      const sealed = await whenNotBusy(() => writer.seal(digest))
      try {
        await record(sealed)
      } catch (error) {
        const dropping = records.blob(digest).then((row) => (row || before ? 0 : store.delete(digest)))
        await bestEffort(dropping, () => {})
        throw error
      }
      return sealed
    })
    const fill = this.#running.of(digest)
    if (fill) fill.addStored(storedSource(() => this.stored.open(digest), this.#options.pieces))
    // What an interrupted fill left of it has no use any more.
    else await this.space.resting.remove(partialId(digest)).catch(() => {})
    return file
  }

  /**
   * Records the file of a digest that has no record; whether it had none. Nobody has compared it with its digest: whoever
   * reads it does. Throws StorageError.
   */
  async adopt(digest: Digest): Promise<boolean> {
    const { store, records } = this.#options
    // Guards against this order: (1) the file is found. (2) It is evicted. (3) It is recorded all the same.
    return this.#lock.run(digest, async () => {
      const file = await store.stat(digest)
      return file !== undefined && records.adopt(digest, file, Date.now())
    })
  }

  /** See `Removal.remove`. */
  remove(...asked: Parameters<Removal['remove']>): Promise<number> {
    return this.#removal.remove(...asked)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true
    const reason = new Error('the mirror is stopping; what was fetched is kept')
    await this.#running.stop(reason)
    await this.evictor?.[Symbol.asyncDispose]()
    this.disk[Symbol.dispose]()
    await this.stored[Symbol.asyncDispose]()
    await this.#use[Symbol.asyncDispose]()
  }

  #throwIfStopped(): void {
    const message = 'the mirror is stopping: ask again when it is back'
    if (this.#isStopped) throw new RegistryError('UNAVAILABLE', message)
  }

  /** What a push has stored meanwhile stays as it was recorded. */
  async #publish(digest: Digest, partial: Partial): Promise<void> {
    const { records, logger } = this.#options
    // Guards against this order: (1) the fill renames its bytes to their place. (2) An eviction, whose transaction came
    // before, unlinks them. (3) The fill records a file that is not there, and a mount relies on it.
    await this.#lock.run(digest, async () => {
      if (await this.stored.damage.stat(digest)) {
        // What cannot be removed has ended all the same, and the blob is here.
        const reason = new Error('the blob is stored')
        return closePartial(partial, { logger, digest }, { keeps: false, reason })
      }
      const file = await whenNotBusy(() => partial.seal(digest))
      await bestEffort(records.sealed(digest, file, Date.now()), (err) =>
        tellSeldom(
          logger,
          'warn',
          { digest, err },
          'the catalog could not be written: the blob will be hashed again',
        ),
      )
    })
  }
}

/** Whether a fill takes nobody any more, and has not let go of its partial. */
function isEnding(fill: Fill): boolean {
  return !fill.takesFollowers && !fill.isHandedThrough
}
