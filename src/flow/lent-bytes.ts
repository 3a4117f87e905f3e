/** Memory that is used again once nobody holds a part of it. */
export interface LentMemory {
  /** Nobody holds it any more. */
  free(): void
  /** Somebody may still read it, who cannot be waited for: it must not be used again. */
  abandon(): void
  /** Called with each hold that begins; what it returns is called when that hold ends. For checks only. */
  readonly onHold?: (() => () => void) | undefined
}

/** All holds of one memory. */
class Holders {
  readonly #memory: LentMemory
  #count = 0
  #isAbandoned = false

  constructor(memory: LentMemory) {
    this.#memory = memory
  }

  begin(): (() => void) | undefined {
    this.#count += 1
    return this.#memory.onHold?.()
  }

  end(): void {
    this.#count -= 1
    if (this.#count === 0 && !this.#isAbandoned) this.#memory.free()
  }

  abandon(): void {
    if (this.#isAbandoned) return
    this.#isAbandoned = true
    this.#memory.abandon()
  }
}

/**
 * A hold of bytes in memory that is used again. Whoever is given one has it until the call returns, or until the next one
 * is asked for; who needs the bytes across an `await` takes a hold of his own by `share`, and releases it, also after an error.
 * Bytes under a hold never change, but for those that lie behind what the holder of a whole piece has shared of it so far.
 */
export class LentBytes implements Disposable {
  readonly #holders: Holders | undefined
  readonly #bytes: Uint8Array
  readonly #onEnd: (() => void) | undefined
  #isReleased = false

  private constructor(bytes: Uint8Array, holders: Holders | undefined) {
    this.#bytes = bytes
    this.#holders = holders
    this.#onEnd = holders?.begin()
  }

  /** Bytes that are not used again: they may be kept. */
  static of(bytes: Uint8Array): LentBytes {
    return new LentBytes(bytes, undefined)
  }

  /** The first hold of all bytes of a memory. */
  static whole(bytes: Uint8Array, memory: LentMemory): LentBytes {
    return new LentBytes(bytes, new Holders(memory))
  }

  /** Bytes. */
  get length(): number {
    return this.#bytes.length
  }

  /** Throws Error once this hold is released. */
  get bytes(): Uint8Array {
    if (this.#isReleased) throw new Error('bytes were read after their release')
    return this.#bytes
  }

  /** A hold of its own of the bytes from `start` to `end` (exclusive). Throws Error once this one is released. */
  share(start = 0, end = this.length): LentBytes {
    return new LentBytes(this.bytes.subarray(start, end), this.#holders)
  }

  /** A hold of these bytes and of `next`, where both lie behind each other in one memory; undefined: they do not. */
  joined(next: LentBytes): LentBytes | undefined {
    const [one, other] = [this.bytes, next.bytes]
    const isNext = one.buffer === other.buffer && one.byteOffset + one.length === other.byteOffset
    if (!isNext || !this.#holders || this.#holders !== next.#holders) return undefined
    const both = new Uint8Array(one.buffer, one.byteOffset, one.length + other.length)
    return new LentBytes(both, this.#holders)
  }

  /** Ends this hold; when it was the last one, the memory is used again. Once more does nothing. */
  release(): void {
    if (this.#isReleased) return
    this.#isReleased = true
    this.#onEnd?.()
    this.#holders?.end()
  }

  /** Ends it where somebody who cannot be waited for may still read: the memory is left to the garbage collector. */
  abandon(): void {
    if (this.#isReleased) return
    this.#holders?.abandon()
    this.release()
  }

  [Symbol.dispose](): void {
    this.release()
  }
}
