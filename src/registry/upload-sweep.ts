import type { Logger } from 'pino'
import { AgeClock } from '../flow/age-clock.ts'
import { bestEffort } from '../flow/best-effort.ts'
import { IntervalJob } from '../flow/interval-job.ts'
import { tellSeldom } from '../flow/seldom.ts'
import type { BlobWriters } from '../storage/blob-writer.ts'
import type { Catalog } from '../storage/catalog.ts'
import type { UploadSession } from './upload-session.ts'

export interface UploadSweepOptions {
  readonly sessions: ReadonlyMap<string, UploadSession>
  readonly files: Pick<BlobWriters, 'remove'>
  readonly catalog: Pick<Catalog, 'endUpload' | 'staleUploads'>
  readonly logger: Logger
  /** Milliseconds without bytes after which nobody comes back for an upload (`local.uploadTtl`). */
  readonly ttlMs: number
  readonly clock: UploadClock
}

/** Both in milliseconds. */
export interface UploadClock {
  /** The time of day, since the epoch; it may jump. */
  readonly wall: () => number
  /** Since whenever; it does not. */
  readonly monotonic: () => number
}

const longestIntervalMs = 60_000
/** Before this nothing goes of what earlier processes left: clients come back, and a clock that was wrong is set. */
const longestSettleMs = 10 * 60_000
/** More than there are uploads at a time, so that those that are under way hide no others. */
const rowsAtOnce = 8192

/**
 * Ends the uploads that nobody comes back for. How long one that this process knows has been idle, no clock that jumps
 * changes; the age of what earlier processes left is what the time of day says, in so far as it holds. Dispose to stop.
 */
export class UploadSweep implements AsyncDisposable {
  readonly #options: UploadSweepOptions
  readonly #clock: AgeClock
  readonly #settleMs: number
  readonly #job: IntervalJob
  /** Ended uploads of which something could not be removed. */
  readonly #left = new Set<string>()
  #hasTidied = false

  constructor(options: UploadSweepOptions) {
    this.#options = options
    const { ttlMs, clock, logger } = options
    this.#clock = new AgeClock(ttlMs, clock)
    this.#settleMs = Math.min(ttlMs, longestSettleMs)
    this.#job = new IntervalJob(() => this.sweep(), {
      intervalMs: Math.min(longestIntervalMs, ttlMs / 4),
      onError: (err) => logger.error({ err }, 'old uploads could not be looked through'),
    })
  }

  /** Sweeps now and then from now on. */
  start(): void {
    this.#job.start()
  }

  /** One has ended, and not all of it could be removed: that is tried again. */
  leave(id: string): void {
    this.#left.add(id)
  }

  /** Sweeps once. Throws StorageError. */
  async sweep(): Promise<void> {
    const { sessions, logger, ttlMs } = this.#options
    // Also while nothing goes: it has to see the time of day.
    const now = this.#clock.now()
    const isSettled = this.#clock.uptimeMs >= this.#settleMs
    for (const session of sessions.values()) {
      const { idleMs, foundAt } = session.use
      if (idleMs === undefined) continue
      const ageMs = isSettled && foundAt !== undefined ? Math.max(idleMs, now - foundAt) : idleMs
      if (ageMs < ttlMs) continue
      await bestEffort(session.cancel(), (err) =>
        tellSeldom(logger, 'warn', { err, upload: session.id }, 'an old upload could not be removed'),
      )
    }
    for (const id of this.#left) {
      await this.#remove(id)
      this.#left.delete(id)
    }
    if (isSettled && !this.#hasTidied) await this.#tidy()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#job[Symbol.asyncDispose]()
  }

  /** Earlier processes have also left records of uploads without a byte. */
  async #tidy(): Promise<void> {
    const { catalog, sessions } = this.#options
    const rows = await catalog.staleUploads(Number.MAX_SAFE_INTEGER, rowsAtOnce)
    for (const { id } of rows) if (!sessions.has(id)) await this.#remove(id)
    this.#hasTidied = rows.length < rowsAtOnce
  }

  async #remove(id: string): Promise<void> {
    await this.#options.files.remove(id)
    await this.#options.catalog.endUpload(id)
  }
}
