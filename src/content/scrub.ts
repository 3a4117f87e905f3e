import type { Logger } from 'pino'
import { abortable, delay } from '../flow/abortable.ts'
import { AgeClock } from '../flow/age-clock.ts'
import { IntervalJob } from '../flow/interval-job.ts'
import { tellSeldom } from '../flow/seldom.ts'
import type { Digest } from '../oci/digest.ts'
import type { Catalog } from '../storage/catalog.ts'
import type { StoredBlobs } from './stored-blobs.ts'

export interface ScrubOptions {
  readonly catalog: Pick<Catalog, 'unverified'>
  readonly stored: Pick<StoredBlobs, 'verify'>
  /** Milliseconds after which a blob is compared with its digest again (`cache.scrub`). */
  readonly everyMs: number
  readonly logger: Logger
  readonly clock?: AgeClock
  /** Milliseconds between two runs. */
  readonly intervalMs?: number
  /** Milliseconds after the start before which nothing is read. */
  readonly settleMs?: number | undefined
}

/** What was read since the start. */
export interface Scrubbed {
  readonly blobs: number
  readonly damaged: number
}

const pageSize = 100
/** Blobs at a time: they are read one after the other, and what is noted of them goes in one commit. */
const atOnce = 8
/** Of the time that it has worked it rests, and milliseconds at most; within a blob a slow disk rests by itself. */
const rest = { factor: 0.25, longestMs: 5000 }
/** Blobs of which nothing could be said or noted, after which a run ends. */
const maximumStuck = 1000
const shortestIntervalMs = 100
const longestIntervalMs = 10 * 60_000
/** Whom the start has interrupted comes back first. */
const longestSettleMs = 60_000

/**
 * Compares each stored blob with its digest now and then, from the disk and beside the traffic, those first that were
 * not for the longest: disks change bytes without a word, and what nobody reads nobody would miss. Dispose to stop.
 */
export class Scrub implements AsyncDisposable {
  readonly #options: ScrubOptions
  readonly #clock: AgeClock
  readonly #settleMs: number
  readonly #job: IntervalJob
  readonly #scrubbed = { blobs: 0, damaged: 0 }
  /** While it pauses. */
  #paused: PromiseWithResolvers<void> | undefined
  #step = new AbortController()

  constructor(options: ScrubOptions) {
    this.#options = options
    const { everyMs, logger } = options
    this.#clock = options.clock ?? new AgeClock(everyMs)
    this.#settleMs = options.settleMs ?? Math.min(everyMs, longestSettleMs)
    const intervalMs = Math.min(Math.max(everyMs / 100, shortestIntervalMs), longestIntervalMs)
    this.#job = new IntervalJob((signal) => this.scrub(signal), {
      intervalMs: options.intervalMs ?? intervalMs,
      onError: (err) =>
        tellSeldom(logger, 'error', { err }, 'stored blobs could not be verified: trying again later'),
    })
  }

  /** Since the start. */
  get scrubbed(): Scrubbed {
    return this.#scrubbed
  }

  /** Scrubs now and then from now on. */
  start(): void {
    this.#job.start()
  }

  /** Nothing is read until `resume`; what is being read is read anew then. */
  pause(): void {
    this.#paused ??= Promise.withResolvers()
    this.#step.abort(new Error('the scrub pauses'))
  }

  resume(): void {
    this.#paused?.resolve()
    this.#paused = undefined
  }

  /** Runs once, through all that is due. Throws what the last blob failed with that could not be verified. */
  async scrub(signal?: AbortSignal): Promise<void> {
    // Also while nothing is due: it has to see the time of day.
    const before = this.#clock.now() - this.#options.everyMs
    if (this.#clock.uptimeMs < this.#settleMs) return
    const { catalog, logger } = this.#options
    const { blobs, damaged } = this.#scrubbed
    const startedAt = performance.now()
    let failure: unknown
    const stuck = new Set<Digest>()
    let last: readonly Digest[] = []
    while (stuck.size < maximumStuck) {
      const limit = pageSize + stuck.size
      const page = await catalog.unverified(before, limit)
      // Still due after its turn: that it was verified could not be noted, or it could not be read.
      for (const digest of last) if (page.includes(digest)) stuck.add(digest)
      last = page.filter((digest) => !stuck.has(digest))
      if (page.length < limit && last.length === 0) break
      failure = (await this.#readAll(last, signal)) ?? failure
    }
    const found = { blobs: this.#scrubbed.blobs - blobs, damaged: this.#scrubbed.damaged - damaged }
    const ms = Math.round(performance.now() - startedAt)
    if (found.blobs > 0)
      logger[found.damaged > 0 ? 'info' : 'debug']({ ...found, ms }, 'stored blobs were verified')
    if (failure) throw failure
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#job[Symbol.asyncDispose]()
  }

  /** Returns why a blob could not be verified, if any. */
  async #readAll(digests: readonly Digest[], signal: AbortSignal | undefined): Promise<unknown> {
    let failure: unknown
    for (let at = 0; at < digests.length; ) {
      await this.#mayGoOn(signal)
      this.#step = new AbortController()
      const startedAt = performance.now()
      const reading = digests.slice(at, at + atOnce).map((digest) => this.#read(digest, signal))
      const results = await Promise.allSettled(reading)
      signal?.throwIfAborted()
      if (this.#step.signal.aborted) continue
      for (const one of results) if (one.status === 'rejected') failure = one.reason
      at += atOnce
      const workedMs = performance.now() - startedAt
      await delay(Math.min(workedMs * rest.factor, rest.longestMs), signal)
    }
    return failure
  }

  async #read(digest: Digest, signal: AbortSignal | undefined): Promise<void> {
    const ending = signal ? AbortSignal.any([signal, this.#step.signal]) : this.#step.signal
    const verdict = await this.#options.stored.verify(digest, { isGentle: true, signal: ending })
    this.#scrubbed.blobs += 1
    if (verdict === 'damaged') this.#scrubbed.damaged += 1
  }

  async #mayGoOn(signal: AbortSignal | undefined): Promise<void> {
    while (this.#paused) await abortable(this.#paused.promise, signal)
  }
}
