import { LendingChecks } from '../flow/lending-checks.ts'
import { LentBytes } from '../flow/lent-bytes.ts'

/**
 * Bytes. A big buffer halves the system calls of a fast transfer; a small one is enough for a slow client, and the
 * smallest costs less than its connection.
 */
const sizes = { large: 1024 * 1024, medium: 256 * 1024, small: 64 * 1024, smallest: 16 * 1024 } as const

/**
 * Recycled buffers for transfers. The first ones are large; as `capacity` fills up they get smaller, and far beyond it
 * they are the smallest: many slow clients must not fill the memory.
 */
export class BufferPool implements Disposable {
  readonly #capacity: number
  readonly #checks: LendingChecks | undefined
  readonly #free = new Map<number, Buffer[]>()
  #inUse = 0
  #kept = 0

  /** `capacity` in bytes. `isChecked`: see `PiecesOptions`. */
  constructor(capacity: number, { isChecked }: { isChecked?: boolean } = {}) {
    this.#capacity = capacity
    this.#checks = isChecked ? new LendingChecks() : undefined
  }

  /** Bytes that are kept to be lent out again: no more than the capacity has room for, or an eighth of what is lent out. */
  get kept(): number {
    return this.#kept
  }

  /** Bytes that are lent out. */
  get inUse(): number {
    return this.#inUse
  }

  /** Whether so much is lent out that nobody should have two buffers. */
  get isScarce(): boolean {
    return this.#inUse >= this.#capacity
  }

  /** A buffer to read up to `wanted` bytes into in all. Its bytes are whatever they were. */
  acquire(wanted: number): LentBytes {
    const size = this.#sizeFor(wanted)
    this.#inUse += size
    const free = this.#free.get(size)?.pop()
    if (free) this.#kept -= size
    else this.#forgetSome()
    const buffer = free ?? Buffer.allocUnsafeSlow(size)
    const memory = {
      free: () => this.#take(buffer),
      abandon: () => {
        this.#inUse -= size
      },
    }
    return LentBytes.whole(buffer, this.#checks?.watched(buffer, memory) ?? memory)
  }

  #take(buffer: Buffer): void {
    this.#inUse -= buffer.length
    const free = this.#free.get(buffer.length)
    if (free) free.push(buffer)
    else this.#free.set(buffer.length, [buffer])
    this.#kept += buffer.length
    this.#forgetSome()
  }

  /** Throws AggregateError where something is still lent out, and that is checked. */
  [Symbol.dispose](): void {
    this.#checks?.[Symbol.dispose]()
  }

  /** What is kept in one size makes room for what is lent in another. */
  #forgetSome(): void {
    const room = Math.max(this.#capacity - this.#inUse, this.#inUse / 8)
    for (const [size, free] of this.#free) {
      while (this.#kept > room && free.pop()) this.#kept -= size
    }
  }

  #sizeFor(wanted: number): number {
    if (wanted <= sizes.smallest || this.#inUse >= this.#capacity * 2) return sizes.smallest
    if (wanted <= sizes.small || this.#inUse >= (this.#capacity * 3) / 4) return sizes.small
    if (wanted <= sizes.medium || this.#inUse >= this.#capacity / 4) return sizes.medium
    return sizes.large
  }
}
