import { LentBytes } from '../../src/flow/lent-bytes.ts'

/** Memory that upstreams lend to a process: what is released is overwritten, and what is held is counted (I11). */
export class Lending {
  readonly #holds = new Set<object>()
  readonly #isTraced: boolean

  /** `isTraced`: whether to know where each hold was taken, which costs much. */
  constructor(isTraced: boolean) {
    this.#isTraced = isTraced
  }

  /** Holds that have not ended. */
  get count(): number {
    return this.#holds.size
  }

  /** Where the first of them was taken, as far as that is known. */
  get where(): string {
    const [first] = this.#holds
    return first instanceof Error ? (first.stack ?? '') : 'replay the seed alone to see where'
  }

  /** Lends bytes that are the caller's own no more. */
  lend(bytes: Buffer): LentBytes {
    return LentBytes.whole(bytes, {
      free: () => bytes.fill(0xdd),
      abandon: () => {},
      onHold: () => {
        const hold = this.#isTraced ? new Error('taken') : {}
        this.#holds.add(hold)
        return () => this.#holds.delete(hold)
      },
    })
  }
}
