import { HeldBytes } from '../flow/held-bytes.ts'
import type { LentBytes } from '../flow/lent-bytes.ts'

/**
 * The latest written bytes of a growing file, kept in memory for readers that follow its front: a copy costs
 * them a tenth of a read through the thread pool. Holds what was written, at most `capacity` bytes.
 */
export class RecentBytes {
  readonly #capacity: number
  readonly #held: HeldBytes

  constructor(capacity: number) {
    this.#capacity = capacity
    this.#held = new HeldBytes(capacity)
  }

  /** Takes a hold of its own. */
  add(start: number, lent: LentBytes): void {
    if (lent.length > this.#capacity) return
    this.#held.add(start, lent)
    while (this.#held.length > this.#capacity) this.#held.drop()
  }

  /** Nobody needs what lies before `position`. */
  passed(position: number): void {
    for (let end = this.#held.oldestEnd; end !== undefined && end <= position; end = this.#held.oldestEnd) {
      this.#held.drop()
    }
  }

  /** Copies what is held from `position` on into `buffer`; returns how many bytes, 0 where none is held. */
  read(buffer: Uint8Array, position: number): number {
    return this.#held.read(buffer, position)
  }

  /** A hold of the caller's own of what is held from `position` on, or of the first part of that; undefined: nothing is. */
  lend(position: number): LentBytes | undefined {
    return this.#held.lend(position)
  }

  clear(): void {
    this.#held.clear()
  }
}
