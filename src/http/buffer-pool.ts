/** Bytes. A big buffer halves the system calls of a fast transfer; a small one is enough for a slow client. */
const sizes = { large: 1024 * 1024, medium: 256 * 1024, small: 64 * 1024 } as const

/**
 * Recycled buffers for transfers. The first transfers get large ones; as `capacity` fills up later ones get
 * smaller ones, and beyond it the smallest: many slow clients must not fill the memory.
 */
export class BufferPool {
  readonly #capacity: number
  readonly #free = new Map<number, Buffer[]>()
  #inUse = 0
  #freeBytes = 0

  /** `capacity` in bytes. */
  constructor(capacity: number) {
    this.#capacity = capacity
  }

  /** Bytes that are kept to be lent out again. */
  get kept(): number {
    return this.#freeBytes
  }

  /** Bytes that are lent out. */
  get inUse(): number {
    return this.#inUse
  }

  /** Lends a buffer to read up to `wanted` bytes in all; to be given back by `release`. */
  acquire(wanted: number): Buffer {
    const size = this.#sizeFor(wanted)
    this.#inUse += size
    const free = this.#free.get(size)?.pop()
    if (free) this.#freeBytes -= size
    return free ?? Buffer.allocUnsafeSlow(size)
  }

  /**
   * Takes a buffer back. `isClean`: nobody else may still read it; a write that was cut off may, so that its
   * buffer is left to the garbage collector.
   */
  release(buffer: Buffer, isClean: boolean): void {
    this.#inUse -= buffer.length
    if (!isClean || this.#inUse + this.#freeBytes + buffer.length > this.#capacity) return
    this.#freeBytes += buffer.length
    const free = this.#free.get(buffer.length)
    if (free) free.push(buffer)
    else this.#free.set(buffer.length, [buffer])
  }

  #sizeFor(wanted: number): number {
    if (wanted <= sizes.small) return sizes.small
    if (this.#inUse < this.#capacity / 4 && wanted > sizes.medium) return sizes.large
    if (this.#inUse < (this.#capacity * 3) / 4) return sizes.medium
    return sizes.small
  }
}
