import type { Logger } from 'pino'
import { delay } from '../flow/abortable.ts'
import type { Digest } from '../oci/digest.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import type { Catalog } from '../storage/catalog.ts'
import { StorageError } from '../storage/error.ts'
import type { Blobs } from './blobs.ts'

export interface ReconciliationOptions {
  readonly store: Pick<BlobStore, 'list'>
  readonly catalog: Pick<Catalog, 'blobs'>
  readonly blobs: Pick<Blobs, 'adopt'> & {
    readonly stored: { readonly damage: Pick<Blobs['stored']['damage'], 'missing'> }
  }
  readonly logger: Logger
  /** It need not rest: nobody else wants the disk. */
  readonly isInHurry?: boolean
  /** Milliseconds between two runs, and after one that failed. */
  readonly intervalMs?: number
  readonly retryMs?: number
}

/** In what files and records differed. */
export interface Reconciled {
  /** Files that had no record, and have one now. */
  readonly adopted: number
  /** Records whose files were not there, and are no more. */
  readonly missing: number
}

interface Counts {
  adopted: number
  missing: number
  /** Blobs that could not be looked at, and why the first one could not. */
  failed: number
  failure: StorageError | undefined
}

/** Of files and of records. */
const pageSize = 256
/** Those that differ go in few commits, and leave the disk to others. */
const atOnce = 32
/** Times as long as it has worked it rests, and milliseconds at most: who pulls and pushes has the disk. */
const rest = { factor: 1, longestMs: 1000 }
const defaultIntervalMs = 24 * 60 * 60 * 1000
const defaultRetryMs = 60_000

/**
 * Makes files and records agree, beside everything else: behind the start, since a kill may come between the two, or
 * somebody has changed the folder, or the catalog was lost; and once a day. A file without a record is as good as any; what
 * nobody has pushed may be evicted. Dispose to stop.
 */
export class Reconciliation implements AsyncDisposable {
  readonly #options: ReconciliationOptions
  readonly #stopped = new AbortController()
  #running: Promise<void> = Promise.resolve()

  constructor(options: ReconciliationOptions) {
    this.#options = options
  }

  start(): void {
    this.#running = this.#repeat().catch(() => {})
  }

  /** Runs once, past what cannot be looked at. Throws StorageError, and the reason of `signal`. */
  async run(signal?: AbortSignal): Promise<Reconciled> {
    const { store, catalog, logger } = this.#options
    const startedAt = performance.now()
    const counts: Counts = { adopted: 0, missing: 0, failed: 0, failure: undefined }
    for (let after: Digest | undefined, isOver = false; !isOver; ) {
      const stepAt = performance.now()
      const page = { after, limit: pageSize }
      const [files, rows] = await Promise.all([store.list(page), catalog.blobs(page)])
      const recorded = rows.map(({ digest }) => digest)
      // What lies behind the end of a full page is looked at with the next one.
      const ends = [files, recorded].flatMap((list) => (list.length < pageSize ? [] : (list.at(-1) ?? [])))
      after = ends.toSorted()[0]
      isOver = after === undefined
      const end = after
      const isReached = (digest: Digest): boolean => end === undefined || digest <= end
      await this.#mend(files.filter(isReached), recorded.filter(isReached), counts, signal)
      const restMs = Math.min((performance.now() - stepAt) * rest.factor, rest.longestMs)
      if (!this.#options.isInHurry) await delay(restMs, signal)
    }
    const ms = Math.round(performance.now() - startedAt)
    const { adopted, missing, failed: blobs, failure: err } = counts
    if (blobs > 0)
      logger.warn({ blobs, err }, 'stored blobs could not be looked at, and are left as they are')
    if (adopted + missing > 0) {
      logger.info(
        { adopted, missing, ms },
        'files of blobs without a record were taken over, and records without a file dropped',
      )
    }
    return { adopted, missing }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort()
    await this.#running
  }

  async #repeat(): Promise<void> {
    const { logger, intervalMs = defaultIntervalMs, retryMs = defaultRetryMs } = this.#options
    const { signal } = this.#stopped
    for (;;) {
      const isDone = await this.run(signal).then(
        () => true,
        (err: unknown) => {
          signal.throwIfAborted()
          logger.warn({ err }, 'files and records of blobs could not be compared: trying again later')
          return false
        },
      )
      await delay(isDone ? intervalMs : retryMs, signal)
    }
  }

  async #mend(
    files: readonly Digest[],
    recorded: readonly Digest[],
    counts: Counts,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { blobs } = this.#options
    const [lying, known] = [new Set(files), new Set(recorded)]
    const goOn = (error: unknown): void => {
      if (!isOfOneFile(error)) throw error
      counts.failed += 1
      counts.failure ??= error
    }
    const work = [
      ...files
        .filter((digest) => !known.has(digest))
        .map((digest) => async () => {
          if (await blobs.adopt(digest)) counts.adopted += 1
        }),
      ...recorded
        .filter((digest) => !lying.has(digest))
        .map((digest) => async () => {
          if (await blobs.stored.damage.missing(digest)) counts.missing += 1
        }),
    ]
    for (let at = 0; at < work.length; at += atOnce) {
      signal?.throwIfAborted()
      await Promise.all(work.slice(at, at + atOnce).map((one) => one().catch(goOn)))
    }
  }
}

/** The disk does not give that one; another one may well be there. */
function isOfOneFile(error: unknown): error is StorageError {
  return error instanceof StorageError && error.code === 'BROKEN'
}
