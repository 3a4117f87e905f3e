import { statfs } from 'node:fs/promises'
import { within } from '../../flow/abortable.ts'

/** What a disk has. */
export interface DiskFigures {
  /** Bytes that may be used by whoever is not root. */
  readonly freeBytes: number
  readonly bytes: number
  /** Inodes, of which each file takes one; 0 of 0 where the file system makes them as they are needed (btrfs). */
  readonly freeInodes: number
  readonly inodes: number
}

/** Milliseconds for which a disk is waited for that does not answer. */
const defaultWaitMs = 500

/** Tells what the disk of a folder has. One that hangs is asked once, and what it said last is told again. */
export class DiskGauge {
  readonly #folder: string
  readonly #waitMs: number
  #last: DiskFigures | undefined
  #asking: Promise<DiskFigures> | undefined

  constructor(folder: string, options: { waitMs?: number } = {}) {
    this.#folder = folder
    this.#waitMs = options.waitMs ?? defaultWaitMs
  }

  /** Undefined where it has never answered, or fails. */
  async read(): Promise<DiskFigures | undefined> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined
    })
    return (await within(this.#asking, this.#waitMs).catch(() => undefined)) ?? this.#last
  }

  async #ask(): Promise<DiskFigures> {
    const { bavail, blocks, bsize, ffree, files } = await statfs(this.#folder)
    this.#last = { freeBytes: bavail * bsize, bytes: blocks * bsize, freeInodes: ffree, inodes: files }
    return this.#last
  }
}
