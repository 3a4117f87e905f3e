import type { Logger } from 'pino'
import { StorageError } from '../storage/error.ts'

/** Whether the disk takes bytes, as those who write to it find. */
export interface DiskState {
  /** False from a failure on until the disk was found to be well again: what is fetched meanwhile is handed through. */
  readonly isWell: boolean
  /** A write failed. Heeds what the disk is to blame for, and nothing else: any error may be told. */
  failed(error: unknown): void
  /** As `failed`, of bytes that may only have been too many: where there was no room the disk is asked. */
  refused(error: unknown): void
}

export interface WatchedDiskOptions {
  /** Rejects while the disk takes nothing. Asked after a failure, until it resolves; one at a time. */
  readonly probe: () => Promise<void>
  /** Milliseconds between two questions. */
  readonly probeMs?: number | undefined
  /** Milliseconds between two lines of the log about the same trouble. */
  readonly tellMs?: number
  readonly logger: Logger
}

const defaultProbeMs = 5000
const defaultTellMs = 60_000

/** Asks a disk that failed until it is well again, and tells of it: one line a minute, and one at the end. */
export class WatchedDisk implements DiskState, Disposable {
  readonly #options: WatchedDiskOptions
  #trouble: StorageError | undefined
  #since = 0
  /** Failures that no line has told of. */
  #untold = 0
  #toldAt = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  #isAsking = false
  #askedAt = Number.NEGATIVE_INFINITY
  #isStopped = false

  constructor(options: WatchedDiskOptions) {
    this.#options = options
  }

  get isWell(): boolean {
    return this.#trouble === undefined
  }

  /** What last failed; undefined where it is well. */
  get trouble(): StorageError | undefined {
    return this.#trouble
  }

  failed(error: unknown): void {
    // Descriptors that are short for a moment are no trouble of the disk, nor is one damaged blob.
    const isOfDisk = error instanceof StorageError && error.code !== 'BUSY' && error.code !== 'CORRUPT'
    if (!isOfDisk) return
    if (this.isWell) this.#since = performance.now()
    this.#trouble = error
    this.#untold += 1
    this.#tell(error)
    this.#askLater()
  }

  refused(error: unknown): void {
    if (!(error instanceof StorageError) || error.code !== 'FULL') {
      this.failed(error)
      return
    }
    const { probeMs = defaultProbeMs } = this.#options
    if (this.#isAsking || !this.isWell || performance.now() - this.#askedAt < probeMs) return
    void this.#ask()
  }

  /** Somebody has found that it takes bytes. */
  recovered(): void {
    if (this.isWell) return
    this.#trouble = undefined
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#untold = 0
    const ms = Math.round(performance.now() - this.#since)
    this.#options.logger.info({ ms }, 'the disk takes bytes again: what is fetched is kept')
  }

  [Symbol.dispose](): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  #tell(err: StorageError): void {
    const { logger, tellMs = defaultTellMs } = this.#options
    const now = performance.now()
    if (now - this.#toldAt < tellMs) return
    this.#toldAt = now
    const times = this.#untold
    this.#untold = 0
    logger.error({ err, times }, 'the disk takes no bytes: what is fetched is handed through, and not kept')
  }

  #askLater(): void {
    if (this.#timer || this.#isAsking || this.#isStopped) return
    const { probeMs = defaultProbeMs } = this.#options
    this.#timer = setTimeout(() => void this.#ask(), probeMs).unref()
  }

  async #ask(): Promise<void> {
    this.#timer = undefined
    this.#isAsking = true
    this.#askedAt = performance.now()
    const trouble: unknown = await this.#options.probe().then(
      () => undefined,
      (error: unknown) => error,
    )
    this.#isAsking = false
    if (trouble === undefined) this.recovered()
    else if (this.isWell) this.failed(trouble)
    else this.#askLater()
  }
}
