import type { Logger } from 'pino'
import { bestEffort } from '../flow/best-effort.ts'
import { Changes } from '../flow/changes.ts'
import { IntervalJob } from '../flow/interval-job.ts'
import { Occasionally } from '../flow/occasionally.ts'
import type { Digest } from '../oci/digest.ts'
import type { Catalog } from '../storage/catalog.ts'
import type { Quarantine } from '../storage/quarantine.ts'
import type { Turn } from './eviction-order.ts'
import { RemovalSteps } from './removal-steps.ts'
import type { Demand, Space } from './space.ts'

export interface EvictorOptions {
  readonly space: Space
  readonly catalog: Pick<Catalog, 'evict' | 'mayGo' | 'removed'>
  readonly quarantine: Quarantine
  /** In the order in which it goes. */
  readonly order: () => AsyncGenerator<Turn, undefined>
  /** Removes bytes where `condition` has taken their record away; returns how many are free then. */
  readonly remove: (digest: Digest, condition: () => Promise<boolean>) => Promise<number>
  readonly logger: Logger
  /** Milliseconds between two looks whether a bound is passed while nobody waits. */
  readonly intervalMs?: number | undefined
}

/** What has gone. */
export interface Evicted {
  readonly blobs: number
  readonly bytes: number
}

const defaultIntervalMs = 2000
/** Blobs at a time, whose records go in one commit. Where nobody waits they are few, and who reads others has the disk. */
const atOnce = { awaited: 64, gently: 8 } as const
/** Files that could not be removed, from which on no more records go: the disk is at fault, and not one of them. */
const manyStuck = 8
/** Milliseconds for which nothing is looked for that was not fetched lately, where there was nothing. */
const longestFreshMs = 60_000

/**
 * Takes bytes away that nobody has used for longest: for who waits for room at once, and else, so that few have to wait,
 * down to the low-water mark with rests in between. Dispose to stop.
 */
export class Evictor implements AsyncDisposable {
  readonly #options: EvictorOptions
  readonly #evicted = { blobs: 0, bytes: 0 }
  readonly #job: IntervalJob
  readonly #stopped = new AbortController()
  readonly #changes = new Changes()
  readonly #telling = new Occasionally()
  #running: Promise<void> | undefined
  #isAwaited = false
  /** Since the last line of the log. */
  #untold: { blobs: number; bytes: number; ms: number; why: Demand['why'] } = {
    blobs: 0,
    bytes: 0,
    ms: 0,
    why: 'maxSize',
  }
  readonly #steps: RemovalSteps
  /** Bytes whose record has gone and whose file could not be removed. */
  readonly #stuck = new Map<Digest, number>()
  /** Of `performance.now()`. */
  #onlyFreshUntil = 0
  #passedLimit: Demand['why'] | undefined

  constructor(options: EvictorOptions) {
    this.#options = options
    this.#steps = new RemovalSteps(options.catalog)
    this.#job = new IntervalJob(() => this.run(), {
      intervalMs: options.intervalMs ?? defaultIntervalMs,
      onError: (err) => this.#failed(err),
    })
  }

  /** The limit that is passed although nothing more can be evicted, so that nothing new is kept; undefined: none. */
  get passedLimit(): Demand['why'] | undefined {
    return this.#passedLimit
  }

  /** Bytes that lie there without a record since the disk did not let go of them. */
  get stuckBytes(): number {
    return [...this.#stuck.values()].reduce((sum, bytes) => sum + bytes, 0)
  }

  /** Since the start. */
  get evicted(): Evicted {
    return this.#evicted
  }

  /** Looks now and then from now on. */
  start(): void {
    this.#job.start()
  }

  /** Somebody waits for room. */
  wake(): void {
    this.#isAwaited = true
    this.#changes.announce()
    this.run().catch((err: unknown) => this.#failed(err))
  }

  /** Evicts for who waits, then down to the low-water mark, and resolves when that is done. Throws StorageError. */
  run(): Promise<void> {
    this.#running ??= this.#run()
    return this.#running
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort()
    this.#changes.announce()
    await this.#job[Symbol.asyncDispose]()
    await this.#running?.catch(() => {})
    this.#options.space.nothingLeft()
    if (this.#untold.blobs > 0) this.#tell()
  }

  async #run(): Promise<void> {
    try {
      do {
        this.#isAwaited = false
        await this.#evict()
      } while (this.#isAwaited && !this.#stopped.signal.aborted)
    } catch (error) {
      this.#options.space.nothingLeft()
      throw error
    } finally {
      this.#running = undefined
    }
  }

  async #evict(): Promise<void> {
    const { space, order } = this.#options
    const startedAt = performance.now()
    let evenFresh = startedAt < this.#onlyFreshUntil
    let turns = order()
    let hasGiven = false
    await this.#removeStuck()
    while (!this.#stopped.signal.aborted) {
      const demand = await space.demand()
      if (!demand?.isUrgent) this.#passedLimit = undefined
      if (!demand || (evenFresh && !demand.isUrgent)) break
      const workedFrom = performance.now()
      const isStuck = this.#stuck.size >= manyStuck
      const batch = isStuck ? [] : await this.#next(turns, demand, evenFresh)
      if (batch.length > 0) {
        hasGiven = true
        this.#untold.why = demand.why
        await this.#steps.take(batch, (turn) => this.#takeOne(turn))
        if (!demand.isAwaited) await this.#rest(performance.now() - workedFrom)
      } else if (hasGiven && !isStuck) {
        // What came since that walk began was not in it: only one that gives nothing says that nothing can go.
        hasGiven = false
        turns = order()
      } else if (evenFresh || isStuck) {
        // For whoever waits it may be but too large.
        if (!demand.isAwaited) this.#passed(demand.why)
        space.nothingLeft()
        break
      } else {
        // A walk past all that came lately is not worth it again at once.
        this.#onlyFreshUntil =
          performance.now() + Math.min((performance.now() - startedAt) * 100, longestFreshMs)
        if (!demand.isUrgent) break
        evenFresh = true
        turns = order()
      }
    }
    await this.#steps.confirm()
    this.#untold.ms += performance.now() - startedAt
    if (this.#untold.blobs > 0) this.#telling.do('evicted', () => this.#tell())
  }

  /** As much as is wanted, and no more. */
  async #next(turns: AsyncGenerator<Turn, undefined>, demand: Demand, evenFresh: boolean): Promise<Turn[]> {
    const batch: Turn[] = []
    const most = demand.isAwaited ? atOnce.awaited : atOnce.gently
    let [bytes, files] = [0, 0]
    while (batch.length < most && (bytes < demand.bytes || files < demand.files)) {
      const { value: turn } = await turns.next()
      if (!turn) break
      if (turn.stays && !(evenFresh && turn.stays === 'fetched lately')) continue
      batch.push(turn)
      bytes += turn.bytes
      files += filesOf(turn)
    }
    return batch
  }

  async #takeOne(turn: Turn): Promise<void> {
    const { space } = this.#options
    const bytes = await space.leaving(turn.bytes, () => this.#take(turn))
    if (bytes === undefined) return
    space.freed({ bytes, files: filesOf(turn) })
    for (const sum of [this.#evicted, this.#untold]) {
      sum.blobs += 1
      sum.bytes += bytes
    }
  }

  /** Bytes that are free; undefined where it stays after all. Throws where the catalog cannot be written. */
  async #take({ kind, name, usedAt, bytes: size }: Turn): Promise<number | undefined> {
    const { catalog, quarantine, space, remove, logger } = this.#options
    let isGone = kind !== 'blob'
    try {
      if (kind === 'partial') return space.partials.has(name) ? undefined : await space.resting.remove(name)
      const digest = name as Digest
      if (kind === 'quarantined') return await quarantine.remove(digest)
      const bytes = await remove(digest, async () => {
        isGone = await catalog.evict(digest, usedAt + 1)
        return isGone
      })
      if (isGone) this.#steps.gone(digest)
      return isGone ? bytes : undefined
    } catch (err) {
      if (!isGone) throw err
      // A blob without a record is among the removals of the catalog, and goes with them if not before.
      if (kind === 'blob') this.#stuck.set(name as Digest, size)
      this.#telling.do('unremoved', () =>
        logger.error({ err, name }, 'something could not be evicted: trying again later'),
      )
      return undefined
    }
  }

  /** What could not be removed is tried again; somebody may have removed it since, or have stored it again. */
  async #removeStuck(): Promise<void> {
    const { catalog, space, remove } = this.#options
    for (const digest of this.#stuck.keys()) {
      const removing = remove(digest, () => catalog.mayGo(digest)).then((bytes) => {
        this.#stuck.delete(digest)
        this.#steps.gone(digest)
        space.freed({ bytes, files: 1 })
      })
      await bestEffort(removing, () => {})
    }
  }

  /** Whoever comes and waits ends it. */
  async #rest(workedMs: number): Promise<void> {
    if (this.#isAwaited || this.#stopped.signal.aborted) return
    await this.#changes.next(RemovalSteps.restMs(workedMs))
  }

  #passed(why: Demand['why']): void {
    this.#passedLimit = why
    const message = 'a bound of the cache is passed, and nothing more can be evicted: what is new is not kept'
    this.#telling.do('passed', () => this.#options.logger.warn({ why }, message))
  }

  #failed(err: unknown): void {
    const message = 'nothing could be evicted: trying again later'
    this.#telling.do('failed', () => this.#options.logger.error({ err }, message))
  }

  #tell(): void {
    const { ms, ...untold } = this.#untold
    this.#untold = { blobs: 0, bytes: 0, ms: 0, why: untold.why }
    this.#options.logger.info({ ...untold, ms: Math.round(ms) }, 'evicted what was used longest ago')
  }
}

function filesOf({ kind }: Turn): number {
  return kind === 'partial' ? 2 : 1
}
