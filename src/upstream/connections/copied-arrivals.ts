import { Writable } from 'node:stream'
import type { LentBytes } from '../../flow/lent-bytes.ts'
import type { Pieces } from '../../flow/pieces.ts'
import { freeChunk } from './free-chunk.ts'
import { Intake } from './intake.ts'

export interface CopiedArrivalsOptions {
  readonly pieces: Pieces
  readonly pace: ((bytes: number) => Promise<void>) | undefined
}

/** Bytes: a smaller mark would make the stream before us buffer, and drop that when it is destroyed. */
const highWaterMark = 2 * 1024 * 1024
/** The same where a rate is kept: what is taken in ahead of it has crossed the line too early. */
const pacedHighWaterMark = 64 * 1024

/** Takes bytes off a stream the moment they arrive, as `Arrivals`, into recycled pieces; their own memory is freed at once. */
export class CopiedArrivals extends Writable {
  readonly #intake: Intake
  #resume: (() => void) | undefined
  #isCut = false

  constructor(options: CopiedArrivalsOptions) {
    super({ highWaterMark: options.pace ? pacedHighWaterMark : highWaterMark })
    const onRoom = (): void => this.#goOn()
    this.#intake = new Intake({ ...options, onRoom, onFailure: (error) => void this.destroy(error) })
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, taken: (error?: Error) => void): void {
    const goesOn = this.#intake.put(chunk)
    freeChunk(chunk)
    if (goesOn || this.#isCut) taken()
    else this.#resume = taken
  }

  /** What waits behind a slow taker has crossed the line, and a stream that is destroyed drops it. */
  override destroy(error?: Error): this {
    this.#isCut = true
    this.#goOn()
    return super.destroy(error)
  }

  get over(): { readonly error?: unknown } | undefined {
    return this.#intake.end
  }

  get hasBytes(): boolean {
    return this.#intake.hasBytes
  }

  take(): LentBytes | undefined {
    return this.#intake.take()
  }

  arrival(): Promise<void> {
    return this.#intake.arrival()
  }

  /** Nobody takes any more: the stream may live on for a while, and its bytes are dropped. */
  leave(): void {
    this.#intake.leave()
    this.#intake.finish()
  }

  /** Nothing more comes; `error` is why, unless the body ends here. */
  finish(end?: { readonly error?: unknown }): void {
    this.#intake.finish(end)
  }

  #goOn(): void {
    const resume = this.#resume
    this.#resume = undefined
    resume?.()
  }
}
