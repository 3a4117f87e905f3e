import { within } from '../flow/abortable.ts'
import { IntervalJob } from '../flow/interval-job.ts'
import { StorageError } from '../storage/error.ts'
import type { WatchedDisk } from './disk-state.ts'

export interface DiskProbeOptions {
  /** Writes, syncs, reads and removes something; rejects with StorageError. */
  readonly probe: () => Promise<void>
  readonly disk: Pick<WatchedDisk, 'failed' | 'recovered' | 'trouble'>
  /** Milliseconds between two probes. */
  readonly intervalMs?: number | undefined
  /** Milliseconds after which a disk that has not answered hangs. */
  readonly hangsAfterMs?: number | undefined
}

/** How the disk is: well, or why not. */
export const diskStates = ['well', 'full', 'read_only', 'broken', 'hanging'] as const

export type DiskStateName = (typeof diskStates)[number]

const defaultIntervalMs = 60_000
/** An SD card may take seconds for a sync while it is written to. */
const defaultHangsAfterMs = 15_000

/**
 * Asks the disk at an interval whether it takes bytes, also while nobody writes, and tells the one who watches it. On one
 * that hangs (a network's that is away) the next question waits for the end of the one before, and nobody for either.
 */
export class DiskProbe implements AsyncDisposable {
  readonly #options: DiskProbeOptions
  readonly #job: IntervalJob
  #isHanging = false

  constructor(options: DiskProbeOptions) {
    this.#options = options
    this.#job = new IntervalJob(() => this.#ask(), {
      intervalMs: options.intervalMs ?? defaultIntervalMs,
      onError: (error) => options.disk.failed(error),
    })
  }

  start(): void {
    this.#job.start()
  }

  get state(): DiskStateName {
    const { trouble } = this.#options.disk
    if (trouble === undefined) return 'well'
    if (this.#isHanging) return 'hanging'
    return trouble.code === 'FULL' ? 'full' : trouble.code === 'READ_ONLY' ? 'read_only' : 'broken'
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#job[Symbol.asyncDispose]()
  }

  async #ask(): Promise<void> {
    const { probe, disk, hangsAfterMs = defaultHangsAfterMs } = this.#options
    // An answer, late or not, is the end of it.
    const answering = probe().then(
      () => {
        this.#isHanging = false
        disk.recovered()
        return 'answered'
      },
      (error: unknown) => {
        this.#isHanging = false
        disk.failed(error)
        return 'answered'
      },
    )
    if (await within(answering, hangsAfterMs)) return
    this.#isHanging = true
    disk.failed(new StorageError('BROKEN', `the disk has not answered for ${hangsAfterMs / 1000} s`))
  }
}
