import { Writable } from 'node:stream'
import { deferred } from '../../flow/deferred.ts'

/** Bytes that may wait for their taker before the sender is held back. */
const capacity = 4 * 1024 * 1024

/**
 * Takes bytes off a stream the moment they arrive. A stream that is destroyed drops what it has buffered, and
 * those bytes would have to cross the line a second time; what is in here outlives the end of the connection.
 */
export class Arrivals extends Writable {
  readonly #chunks: Buffer[] = []
  #held = 0
  #isLeft = false
  #end: { readonly error?: unknown } | undefined
  #arrival = deferred<void>()
  #resume: (() => void) | undefined

  constructor() {
    // As much as is held here anyway: a smaller mark would make the stream before us buffer.
    super({ highWaterMark: capacity })
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, taken: (error?: Error) => void): void {
    if (!this.#isLeft) this.#chunks.push(chunk)
    this.#held += chunk.length
    this.#arrival.resolve()
    if (this.#held < capacity) taken()
    else this.#resume = taken
  }

  /** Set when nothing more comes; with what it failed with, where it did. */
  get over(): { readonly error?: unknown } | undefined {
    return this.#end
  }

  get hasBytes(): boolean {
    return this.#chunks.length > 0
  }

  /** The next bytes, if any are here. */
  take(): Buffer | undefined {
    const chunk = this.#chunks.shift()
    if (!chunk) return undefined
    this.#held -= chunk.length
    const resume = this.#resume
    if (resume && this.#held < capacity) {
      this.#resume = undefined
      resume()
    }
    return chunk
  }

  /** Resolves when bytes are here, and when nothing more comes. */
  async arrival(): Promise<void> {
    if (this.#chunks.length > 0 || this.#end) return
    this.#arrival = deferred()
    await this.#arrival.promise
  }

  /** Nobody takes what is here or still comes: the stream before us may live on for a while, and it must hold nothing. */
  leave(): void {
    this.#isLeft = true
    this.#chunks.length = 0
  }

  /** Nothing more comes; `error` is why, unless the body ends here. */
  finish(end: { readonly error?: unknown } = {}): void {
    this.#end = end
    this.#arrival.resolve()
  }
}
