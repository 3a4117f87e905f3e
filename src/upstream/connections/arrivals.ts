import { Writable } from 'node:stream'
import { deferred } from '../../flow/deferred.ts'

/** Bytes that may wait for their taker, a disk, before the sender is held back: more than a slow line brings. */
const capacity = 4 * 1024 * 1024
/** The same where a rate is kept: what is taken in ahead of it has crossed the line too early. */
const pacedCapacity = 64 * 1024

/**
 * Takes bytes off a stream the moment they arrive. A stream that is destroyed drops what it has buffered, and
 * those bytes would have to cross the line a second time; what is in here outlives the end of the connection.
 */
export class Arrivals extends Writable {
  readonly #pace: ((bytes: number) => Promise<void>) | undefined
  readonly #chunks: Buffer[] = []
  #held = 0
  #isLeft = false
  #arrival = deferred<void>()
  #resume: (() => void) | undefined

  /** `pace` waits until so many bytes may have come; the next ones are not taken before. */
  constructor(pace?: (bytes: number) => Promise<void>) {
    // As much as is held here anyway: a smaller mark would make the stream before us buffer.
    super({ highWaterMark: pace ? pacedCapacity : capacity })
    this.#pace = pace
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, taken: (error?: Error) => void): void {
    if (!this.#isLeft) this.#chunks.push(chunk)
    this.#held += chunk.length
    this.#arrival.resolve()
    if (this.#pace) this.#pace(chunk.length).then(() => taken(), taken)
    else if (this.#held < capacity) taken()
    else this.#resume = taken
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

  /** Resolves when bytes are here, or at `wake`. */
  async arrival(): Promise<void> {
    if (this.#chunks.length > 0) return
    this.#arrival = deferred()
    await this.#arrival.promise
  }

  /** Nobody takes what is here or still comes: the stream before us may live on for a while, and it must hold nothing. */
  leave(): void {
    this.#isLeft = true
    this.#chunks.length = 0
  }

  /** Lets whoever waits for bytes look whether there will be any. */
  wake(): void {
    this.#arrival.resolve()
  }
}
