/**
 * Bytes. A big buffer halves the system calls of a fast transfer; a small one is enough for a slow client, and the
 * smallest costs less than its connection.
 */
const sizes = { large: 1024 * 1024, medium: 256 * 1024, small: 64 * 1024, smallest: 16 * 1024 } as const

/**
 * Recycled buffers for transfers. The first ones are large; as `capacity` fills up they get smaller, and far beyond it
 * they are the smallest: many slow clients must not fill the memory.
 */
export class BufferPool {
  readonly #capacity: number
  readonly #free = new Map<number, Buffer[]>()
  #inUse = 0
  #kept = 0

  /** `capacity` in bytes. */
  constructor(capacity: number) {
    this.#capacity = capacity
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

  /** Lends a buffer to read up to `wanted` bytes in all; to be given back by `release`. */
  acquire(wanted: number): Buffer {
    const size = this.#sizeFor(wanted)
    this.#inUse += size
    const free = this.#free.get(size)?.pop()
    if (free) this.#kept -= size
    else this.#forgetSome()
    return free ?? Buffer.allocUnsafeSlow(size)
  }

  /**
   * Takes a buffer back. `isClean`: nobody else may still read it; a write that was cut off may, so that its
   * buffer is left to the garbage collector.
   */
  release(buffer: Buffer, isClean: boolean): void {
    this.#inUse -= buffer.length
    if (!isClean) return
    const free = this.#free.get(buffer.length)
    if (free) free.push(buffer)
    else this.#free.set(buffer.length, [buffer])
    this.#kept += buffer.length
    this.#forgetSome()
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
