import { StorageError } from '../../src/storage/error.ts'
import type { MemoryBlobStoreOptions } from '../../src/storage/memory/memory-blob-store.ts'
import type { Random } from '../torture/random.ts'
import type { SimClock } from './clock.ts'
import type { DiskPlan } from './scenario.ts'

const codes = ['BROKEN', 'FULL', 'BUSY', 'READ_ONLY'] as const

/** A disk that is slow, full or bad as a seed has drawn it. */
export class SimDisk {
  readonly #plan: DiskPlan
  readonly #clock: SimClock
  readonly #random: Random
  readonly #log: (what: string) => void
  #steps = 0
  #isMended = false

  constructor(plan: DiskPlan, clock: SimClock, random: Random, log: (what: string) => void) {
    this.#plan = plan
    this.#clock = clock
    this.#random = random
    this.#log = log
  }

  /** Whether it may refuse what it is given. */
  get isBad(): boolean {
    return this.#plan.fails.size > 0 || this.#plan.room !== undefined
  }

  /** From now on it takes all that it is given. */
  mend(): void {
    this.#isMended = true
  }

  get options(): MemoryBlobStoreOptions {
    const roomNow = (): number =>
      this.#isMended || this.#plan.room === undefined ? Number.POSITIVE_INFINITY : this.#plan.room
    return {
      get room() {
        return roomNow()
      },
      step: (name) => this.#step(name),
    }
  }

  async #step(name: string): Promise<void> {
    const { stepMs, fails } = this.#plan
    const step = this.#steps
    this.#steps += 1
    // Some steps take no time at all, so that nobody can rely on the order of two.
    if (stepMs > 0 && this.#random.isLikely(0.7)) await this.#clock.sleep(this.#random.next() * stepMs)
    if (this.#isMended || !fails.has(step)) return
    const code = this.#random.oneOf(codes)
    this.#log(`the disk fails (${code}) before "${name}"`)
    throw new StorageError(code, 'the disk of a simulation fails')
  }
}
