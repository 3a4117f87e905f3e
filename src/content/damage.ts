import type { Logger } from 'pino'
import type { AgeClock } from '../flow/age-clock.ts'
import { bestEffort } from '../flow/best-effort.ts'
import type { KeyedLock } from '../flow/keyed-lock.ts'
import { tellSeldom } from '../flow/seldom.ts'
import type { Digest } from '../oci/digest.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import { StorageError } from '../storage/error.ts'
import type { SealedFile } from '../storage/partial.ts'
import { nameOf } from '../storage/repository-key.ts'
import type { BlobRecords } from './blob-records.ts'
import type { Documents } from './documents.ts'
import type { Removal } from './removal.ts'

export interface StoredParts {
  readonly store: BlobStore
  readonly records: BlobRecords
  readonly documents: Documents
  readonly lock: KeyedLock<Digest>
  readonly removal: Removal
  /** Bytes that may lie in quarantine of what nobody has pushed: there are others of them elsewhere. */
  readonly maximumQuarantined?: number
  /** Milliseconds after which each blob is compared with its digest again (`cache.scrub`). */
  readonly scrubMs?: number
  /** Of the age of what was verified. */
  readonly clock?: AgeClock
  readonly logger: Logger
}

/** wrong: it does not have the bytes of its digest. unreadable: the disk does not give them. */
export type Fault = 'wrong' | 'unreadable'

/** Blobs that the disk has damaged, since the start. missing: their files were not there. */
export type DamageCounts = Readonly<Record<Fault | 'missing', number>>

const lostLine = 'the bytes of a blob that was pushed are lost: push it again'
const sayings: Readonly<Record<Fault, string>> = {
  wrong: 'a stored blob no longer matches its digest: set aside, it will be fetched again',
  unreadable: 'a stored blob cannot be read: set aside, it will be fetched again',
}
const deniedLine =
  'a stored blob may not be read by this user: it is left as it is until somebody gives it back'
/** Milliseconds between two lines of that. */
const tellMs = 60_000
const manyLine = 'more blobs are damaged or lost than are told one by one: larder verify names them all'
/** As many as are told one by one within that time. */
const maximumLines = 20
/** As many as are remembered. */
const maximumLost = 10_000
/** As many as a line of the log names. */
const maximumTold = 10
const defaultMaximumQuarantined = 1024 ** 3

/**
 * The one way for what is damaged, whoever has found it: its record goes and its bytes to quarantine, so that it is
 * fetched again when it is wanted; of what was pushed nobody else has the bytes, and that is said loudly.
 */
export class Damage {
  /** Pushed blobs whose bytes are not here; whoever brings them back takes them out. */
  readonly lost = new Set<Digest>()
  readonly #options: StoredParts
  readonly #counts = { wrong: 0, unreadable: 0, missing: 0 }
  /** Damaged files that could not be moved out of the way. */
  readonly #stuck = new Map<Digest, SealedFile>()

  /** Files that may not be read, which may be whole. */
  readonly #denied = new Map<Digest, SealedFile>()
  #toldDeniedAt = Number.NEGATIVE_INFINITY
  /** Lines since then, by what they say. */
  readonly #told = new Map<string, number>()
  #toldSince = Number.NEGATIVE_INFINITY

  constructor(options: StoredParts) {
    this.#options = options
  }

  get counts(): DamageCounts {
    return this.#counts
  }

  /**
   * A file is not what it has to be. True once it is out of the way; false where it was replaced meanwhile, or can be read
   * after all, and nothing is done. Throws StorageError where that cannot be; what is not readable is left where it is while the disk takes no writes.
   */
  async found(digest: Digest, file: SealedFile, fault: Fault): Promise<boolean> {
    const { store, records, removal, logger } = this.#options
    if (fault === 'unreadable') {
      await this.#assertDiskWell(digest)
      // It has failed for a moment only.
      if ((await store.check(digest))?.actual === digest) return false
    }
    // Guards against this order: (1) the file is found damaged. (2) A push renames good bytes over it. (3) These go.
    let isFound = false
    const condition = async (): Promise<boolean> => {
      if (!(await isStill(store, digest, file))) return false
      isFound = true
      if (this.isStuck(digest, file)) return true
      this.#counts[fault] += 1
      const repositories = await this.#holders(digest)
      const what = fault === 'wrong' ? 'damaged on disk' : 'they cannot be read'
      if (repositories.length > 0) this.#tellLost(digest, repositories, what)
      else this.#tell({ digest }, sayings[fault])
      await bestEffort(records.gone(digest), (err) =>
        tellSeldom(logger, 'warn', { digest, err }, 'the catalog could not be written'),
      )
      return true
    }
    await removal.remove(digest, condition, () => this.#setAside(digest, file))
    // What stays goes another time.
    await bestEffort(this.#trim(), () => {})
    return isFound
  }

  /** A file is not there: what is recorded of it goes. False where nobody misses it, or it is there again. */
  async missing(digest: Digest): Promise<boolean> {
    const { store, records, lock } = this.#options
    const row = await records.blob(digest).catch(() => undefined)
    if (!row && (this.lost.has(digest) || (await this.#holders(digest, 1)).length === 0)) return false
    // Guards against this order: (1) the file is not found. (2) A push seals it and is recorded. (3) The record goes,
    // and with it what keeps the file of an acknowledged push from being evicted.
    return lock.run(digest, async () => {
      if (await store.stat(digest)) return false
      if (row) this.#counts.missing += 1
      const repositories = await this.#holders(digest)
      if (repositories.length > 0 && !this.lost.has(digest)) {
        this.#tellLost(digest, repositories, 'its file is not there')
      }
      if (row) await bestEffort(records.gone(digest), () => {})
      return true
    })
  }

  /**
   * Whether `error` says that this user may not read the file of a blob. It is left as it is, and gives way to any other;
   * what is mirrored is fetched past it.
   */
  async denied(digest: Digest, error: unknown): Promise<boolean> {
    if (!(error instanceof StorageError) || error.code !== 'DENIED') return false
    const { store, logger } = this.#options
    const file = await store.stat(digest).catch(() => undefined)
    if (file && this.#denied.size < maximumLost) this.#denied.set(digest, file)
    const now = performance.now()
    if (now - this.#toldDeniedAt > tellMs) {
      this.#toldDeniedAt = now
      logger.error({ digest, err: error, blobs: this.#denied.size }, deniedLine)
    }
    return true
  }

  /** Somebody could read it. */
  allowed(digest: Digest): void {
    this.#denied.delete(digest)
  }

  /** As `BlobStore.stat`, without what is known to be damaged, or may not be read. */
  async stat(digest: Digest): Promise<SealedFile | undefined> {
    const file = await this.#options.store.stat(digest)
    const denied = this.#denied.get(digest)
    if (!file || this.isStuck(digest, file) || (denied && isSameFile(denied, file))) return undefined
    return file
  }

  /** Whether this file is known to be damaged, and could not be moved: it is served to nobody, and gives way to any other. */
  isStuck(digest: Digest, file: SealedFile): boolean {
    const stuck = this.#stuck.get(digest)
    return stuck !== undefined && isSameFile(stuck, file)
  }

  /** Its bytes; 0 where it has to stay where it is. */
  async #setAside(digest: Digest, file: SealedFile): Promise<number> {
    const { store, logger } = this.#options
    try {
      const bytes = await store.quarantine.put(digest)
      this.#stuck.delete(digest)
      return bytes
    } catch (err) {
      // A disk that can move nothing may still let go of it; of what was pushed nobody else has so much as a part.
      if (!(await this.#mayBePushed(digest))) return store.delete(digest)
      if (!this.isStuck(digest, file))
        logger.error({ digest, err }, 'a damaged blob could not be set aside: it stays, and is not served')
      if (this.#stuck.size < maximumLost) this.#stuck.set(digest, file)
      return 0
    }
  }

  /** Also where the catalog cannot be read. */
  #mayBePushed(digest: Digest): Promise<boolean> {
    return this.#options.records.localHolders(digest, 1).then(
      (holders) => holders.length > 0,
      () => true,
    )
  }

  #tellLost(digest: Digest, repositories: readonly string[], what: string): void {
    this.#tell({ digest, repositories }, `${lostLine}: ${what}`)
    if (this.lost.size < maximumLost) this.lost.add(digest)
  }

  /** Each of the first in a minute, and then how many more: where a folder is gone there are thousands. */
  #tell(
    fields: { readonly digest: Digest; readonly repositories?: readonly string[] },
    message: string,
  ): void {
    const { logger } = this.#options
    const now = performance.now()
    if (now - this.#toldSince >= tellMs) {
      this.#toldSince = now
      this.#told.clear()
    }
    const lines = (this.#told.get(message) ?? 0) + 1
    this.#told.set(message, lines)
    if (lines <= maximumLines) logger.error(fields, message)
    else tellSeldom(logger, 'error', fields, manyLine)
  }

  /** A disk that fails altogether has not damaged one blob after the other. One that is only full reads well. */
  async #assertDiskWell(digest: Digest): Promise<void> {
    await this.#options.store.probe().catch((cause: unknown) => {
      if (cause instanceof StorageError && cause.code === 'FULL') return
      throw new StorageError('BROKEN', `${digest} cannot be read, nor the disk written to`, { cause })
    })
  }

  /** The oldest go, of what nobody has pushed. */
  async #trim(): Promise<void> {
    const { store, maximumQuarantined = defaultMaximumQuarantined } = this.#options
    const { quarantine } = store
    if (quarantine.total.bytes <= maximumQuarantined) return
    let bytes = 0
    for (const { digest, size } of quarantine.list().toReversed()) {
      if (await this.#mayBePushed(digest)) continue
      bytes += size
      if (bytes > maximumQuarantined) await quarantine.remove(digest)
    }
  }

  /** Names of repositories that it was pushed to; none where the catalog cannot be read, which says so elsewhere. */
  async #holders(digest: Digest, limit = maximumTold): Promise<string[]> {
    const holders = await this.#options.records.localHolders(digest, limit).catch(() => [])
    return holders.map(nameOf)
  }
}

/** Whether the file of a blob is the one that somebody has looked at. */
export async function isStill(store: BlobStore, digest: Digest, file: SealedFile): Promise<boolean> {
  const now = await store.stat(digest)
  return now !== undefined && isSameFile(now, file)
}

export function isSameFile(one: SealedFile, other: SealedFile): boolean {
  return one.size === other.size && one.mtime === other.mtime && one.inode === other.inode
}
