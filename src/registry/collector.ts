import type { Logger } from 'pino'
import { RemovalSteps } from '../content/removal-steps.ts'
import { delay } from '../flow/abortable.ts'
import { AgeClock } from '../flow/age-clock.ts'
import { IntervalJob } from '../flow/interval-job.ts'
import { tellSeldom } from '../flow/seldom.ts'
import type { Digest } from '../oci/digest.ts'
import type { Catalog, IdleContent } from '../storage/catalog.ts'
import { nameOf, originOf, type RepositoryKey } from '../storage/repository-key.ts'

export interface CollectorOptions {
  readonly catalog: Pick<Catalog, 'idle' | 'isPushed' | 'letGo' | 'removals' | 'mayGo' | 'removed'>
  readonly bytes: {
    /** Where `condition` has taken the record away: returns the bytes that are free then. */
    remove(digest: Digest, condition: () => Promise<boolean>): Promise<number>
  }
  /** Milliseconds for which is kept what nothing carries. */
  readonly graceMs: number
  readonly logger: Logger
  readonly clock?: AgeClock
  /** Milliseconds between two runs. */
  readonly intervalMs?: number
  /** Milliseconds after the start before which nothing goes. */
  readonly settleMs?: number | undefined
}

/** What has gone. */
export interface Collected {
  readonly blobs: number
  /** That are free. */
  readonly bytes: number
}

const pageSize = 256
/** Blobs at a time: their records go in one commit, and the files are few enough for who reads others meanwhile. */
const atOnce = 8
const shortestIntervalMs = 100
const longestIntervalMs = 60_000
/** Whom the start has interrupted comes back first, and a clock that was wrong at the start of the machine is set. */
const longestSettleMs = 10 * 60_000

/**
 * Takes away from local repositories what nothing has carried for the whole grace, blobs and manifests, while everything
 * else goes on, and bytes where nobody else has them. What carries them is asked of the catalog alone, in the
 * transaction that takes them away. Dispose to stop.
 */
export class Collector implements AsyncDisposable {
  readonly #options: CollectorOptions
  readonly #clock: AgeClock
  readonly #settleMs: number
  readonly #job: IntervalJob
  readonly #collected = { blobs: 0, bytes: 0 }
  readonly #steps: RemovalSteps

  constructor(options: CollectorOptions) {
    this.#options = options
    const { catalog, graceMs, logger } = options
    this.#steps = new RemovalSteps(catalog)
    this.#clock = options.clock ?? new AgeClock(graceMs)
    this.#settleMs = options.settleMs ?? Math.min(graceMs, longestSettleMs)
    const intervalMs = Math.min(Math.max(graceMs / 4, shortestIntervalMs), longestIntervalMs)
    this.#job = new IntervalJob((signal) => this.collect(signal), {
      intervalMs: options.intervalMs ?? intervalMs,
      onError: (err) => logger.error({ err }, 'unneeded blobs could not be collected: trying again later'),
    })
  }

  /** Since the start. */
  get collected(): Collected {
    return this.#collected
  }

  /** Collects now and then from now on. */
  start(): void {
    this.#job.start()
  }

  /** Runs once. Throws StorageError, and the reason of `signal`. */
  async collect(signal?: AbortSignal): Promise<void> {
    // Also while nothing goes: it has to see the time of day.
    const at = this.#clock.now()
    const before = { ...this.#collected }
    const startedAt = performance.now()
    try {
      // At once: nobody can want bytes without a record, and on a small disk they are the room that is missing.
      await this.#finishRemovals(signal)
      if (this.#clock.uptimeMs >= this.#settleMs) await this.#letIdleGo(at, signal)
    } finally {
      const blobs = this.#collected.blobs - before.blobs
      const bytes = this.#collected.bytes - before.bytes
      const ms = Math.round(performance.now() - startedAt)
      if (blobs > 0)
        this.#options.logger.info({ blobs, bytes, ms }, 'blobs that no manifest names were removed')
      await this.#steps.confirm()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#job[Symbol.asyncDispose]()
  }

  /** What a kill has left between the record and the file, and what could not be removed. */
  async #finishRemovals(signal: AbortSignal | undefined): Promise<void> {
    const { catalog } = this.#options
    let after: Digest | undefined
    do {
      const page = await catalog.removals({ limit: pageSize, after })
      after = page.at(-1)
      await this.#inSteps(page, signal, async (digest) => {
        const isGone = await this.#remove(digest, () => catalog.mayGo(digest))
        // Somebody has pushed it again.
        if (!isGone) this.#steps.gone(digest)
      })
    } while (after !== undefined)
  }

  async #letIdleGo(at: number, signal: AbortSignal | undefined): Promise<void> {
    const { catalog, graceMs } = this.#options
    let after: IdleContent | undefined
    do {
      const page: IdleContent[] = await catalog.idle(at - graceMs, { limit: pageSize, after })
      after = page.at(-1)
      await this.#inSteps(page, signal, ({ repository, digest }) =>
        this.#remove(digest, async () => {
          const outcome = await catalog.letGo(repository, digest, at, graceMs)
          if (outcome === 'deleted') await this.#tell(repository, digest)
          return outcome === 'unlink'
        }),
      )
    } while (after !== undefined)
  }

  async #tell(repository: RepositoryKey, digest: Digest): Promise<void> {
    const { catalog, logger } = this.#options
    const about = { upstream: originOf(repository), repository: nameOf(repository) }
    logger.info({ ...about, digest }, 'a manifest that nothing carries was removed')
    if (!(await catalog.isPushed(repository)))
      logger.info(about, 'nothing that was pushed is left under the name')
  }

  /** Whether `condition` says that it may go; it has gone then, or goes in a later run. Throws what `condition` throws. */
  async #remove(digest: Digest, condition: () => Promise<boolean>): Promise<boolean> {
    let mayGo = false
    const removing = this.#options.bytes.remove(digest, async () => {
      mayGo = await condition()
      return mayGo
    })
    try {
      const bytes = await removing
      if (!mayGo) return false
      this.#collected.blobs += 1
      this.#collected.bytes += bytes
      this.#steps.gone(digest)
    } catch (err) {
      if (!mayGo) throw err
      tellSeldom(
        this.#options.logger,
        'error',
        { err, digest },
        'an unneeded blob could not be removed: trying again later',
      )
    }
    return true
  }

  /** With rests in between. */
  async #inSteps<Item>(
    items: readonly Item[],
    signal: AbortSignal | undefined,
    work: (item: Item) => Promise<unknown>,
  ): Promise<void> {
    for (let at = 0; at < items.length; at += atOnce) {
      const startedAt = performance.now()
      await this.#steps.take(items.slice(at, at + atOnce), work)
      await delay(RemovalSteps.restMs(performance.now() - startedAt), signal)
    }
  }
}
