import type { Logger } from 'pino'
import type { DiskProbe, DiskStateName } from '../content/disk-probe.ts'
import { within } from '../flow/abortable.ts'
import { Occasionally } from '../flow/occasionally.ts'
import type { HealthReport } from '../http/routes/health.ts'

export interface HealthOptions {
  readonly disk: Pick<DiskProbe, 'state'>
  /** The limit of the cache that is passed by what cannot be evicted. */
  readonly passedLimit: () => keyof typeof limits | undefined
  /** Throws where the folder is another process's by now. */
  readonly renewLock: () => void
  /** Rejects where the catalog cannot be written to. */
  readonly probeCatalog: () => Promise<void>
  /** Milliseconds for which whoever asks waits for the catalog: balancers give up after a second. */
  readonly waitMs?: number
  readonly logger: Logger
}

const defaultWaitMs = 500

/** What of the disk keeps new blobs from being kept. Whoever asks is told no more: it may be anybody. */
const reasons: Readonly<Record<Exclude<DiskStateName, 'well'>, string>> = {
  full: 'the disk is full',
  read_only: 'the disk is read-only',
  broken: 'the disk fails',
  hanging: 'the disk does not answer',
}

const limits = {
  maxSize: 'cache.maxSize is used up by what cannot be evicted',
  minFree: 'less of the disk is free than cache.minFree, and nothing can be evicted',
  files: 'the disk has next to no inodes left, and nothing can be evicted',
} as const

/** Whether the mirror can answer, and whether it keeps what is new. Says in the log why not, once a minute. */
export class Health {
  readonly #options: HealthOptions
  readonly #line = new Occasionally()
  #catalog: Promise<true> | undefined

  constructor(options: HealthOptions) {
    this.#options = options
  }

  /** Waits for nothing that hangs. */
  async report(): Promise<HealthReport> {
    const { disk, passedLimit, renewLock, waitMs = defaultWaitMs } = this.#options
    const { state } = disk
    // To look at the lock would hang as well.
    if (state === 'hanging') return degraded(reasons[state])
    try {
      renewLock()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'LOCKED') {
        this.#tell('the data folder is not ours any more', error)
        return { status: 'not ready', reason: 'another process has the data folder' }
      }
      this.#tell('the lock of the data folder cannot be taken anew', error)
      return degraded('the lock of the data folder was removed, and cannot be taken anew')
    }
    if (state !== 'well') return degraded(reasons[state])
    const limit = passedLimit()
    if (limit !== undefined) return degraded(limits[limit])
    try {
      if (await within(this.#probeCatalog(), waitMs)) return { status: 'ready' }
    } catch (error) {
      this.#tell('the catalog cannot be written to', error)
      return degraded('the catalog cannot be written to')
    }
    return degraded('the catalog does not answer')
  }

  /** One at a time. */
  #probeCatalog(): Promise<true> {
    this.#catalog ??= this.#options
      .probeCatalog()
      .then(() => true as const)
      .finally(() => {
        this.#catalog = undefined
      })
    return this.#catalog
  }

  #tell(what: string, err: unknown): void {
    this.#line.do(what, () => this.#options.logger.error({ err }, what))
  }
}

function degraded(why: string): HealthReport {
  const reason = `${why}: pulls go on, and what is new is not kept; the log of the mirror has the details`
  return { status: 'degraded', reason }
}
