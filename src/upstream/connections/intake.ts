import { deferred } from '../../flow/deferred.ts'
import type { LentBytes } from '../../flow/lent-bytes.ts'
import type { Pieces } from '../../flow/pieces.ts'

export interface IntakeOptions {
  readonly pieces: Pieces
  /** Bytes of the body; undefined: whoever brings them says when it ends. */
  readonly length?: number | undefined
  /** Waits until so many bytes may have come; more are not asked for before. */
  readonly pace?: ((bytes: number) => Promise<void>) | undefined
  /** Called when whoever brings the bytes may go on, after it was told to wait. */
  readonly onRoom: () => void
  /** Called when `pace` has failed. */
  readonly onFailure: (error: Error) => void
}

/** Pieces that may wait for their taker, a disk, before the sender is held back. */
const capacity = 4
/** Bytes that are dropped before a sender is held back of whom nobody takes any more. */
const droppedCapacity = 2 * 1024 * 1024
/** Milliseconds that bytes wait for more of them: each turn through the disk and the readers costs the same. */
const bundleMs = 3
/** Bytes that are read at a time where a rate is kept: what is ahead of it has crossed the line too early. */
const pacedBytes = 64 * 1024

/**
 * A body on its way into recycled pieces: a socket reads straight into `tail`, or what came elsewhere is copied (`put`). What
 * is in here outlives the end of the connection. Each piece is given back when both sides are done with it (`finish`, `leave`).
 */
export class Intake {
  readonly #options: IntakeOptions
  /** What is taken next. */
  readonly #full: LentBytes[] = []
  #piece: LentBytes | undefined
  /** Where the bytes of the current piece begin that nobody has taken, and where they end. */
  #from = 0
  #until = 0
  #received = 0
  #dropped = 0
  #pacing = 0
  #isHeld = false
  /** Whether what is here has waited long enough; the first bytes do not wait. */
  #isDue = true
  #isLeft = false
  #end: { readonly error?: unknown } | undefined
  #arrival = deferred<void>()
  #bundling: NodeJS.Timeout | undefined

  constructor(options: IntakeOptions) {
    this.#options = options
  }

  /** Bytes that came so far. */
  get received(): number {
    return this.#received
  }

  /** Whether all bytes of a body with a length are here. */
  get isComplete(): boolean {
    return this.#left === 0
  }

  /** Set when nothing more comes; with what it failed with, where it did. */
  get end(): { readonly error?: unknown } | undefined {
    return this.#end
  }

  /** Whether bytes are here that nobody has taken, also those that wait for more. */
  get hasBytes(): boolean {
    return this.#full.length > 0 || this.#from < this.#until
  }

  /** Where the next bytes go: never more than the body has. Not to be asked for once it is complete. */
  tail(): Uint8Array {
    this.#piece ??= this.#options.pieces.acquire()
    const limit = Math.min(this.#left, this.#options.pace ? pacedBytes : this.#left)
    return this.#piece.bytes.subarray(this.#until, this.#until + limit)
  }

  /** So many bytes were put there. False: the sender has to wait for `onRoom`. */
  filled(count: number): boolean {
    this.#until += count
    this.#received += count
    if (this.isComplete || this.#until === this.#piece?.length) this.#closePiece()
    this.#announce()
    this.#keepPace(count)
    this.#isHeld = this.#mustWait
    return !this.#isHeld
  }

  /** Copies bytes that came otherwise. False: the sender has to wait for `onRoom`. */
  put(bytes: Uint8Array): boolean {
    if (this.#isLeft) {
      this.#dropped += bytes.length
      return this.#dropped < droppedCapacity
    }
    for (let done = 0; done < bytes.length; ) {
      const tail = this.tail()
      const part = bytes.subarray(done, done + tail.length)
      tail.set(part)
      done += part.length
      this.filled(part.length)
    }
    return !this.#isHeld
  }

  /** Nothing more is put into `tail`; `error` is why, unless the body ends here. */
  finish(end: { readonly error?: unknown } = {}): void {
    if (this.#end) return
    this.#end = end
    this.#closePiece()
    clearTimeout(this.#bundling)
    this.#arrival.resolve()
  }

  /** The next bytes, a hold of the caller's own, if it is worth a turn to take them. */
  take(): LentBytes | undefined {
    const next = this.#full.shift()
    if (next) {
      this.#goOn()
      return next
    }
    if (!this.#isDue || this.#from === this.#until) return undefined
    const bytes = this.#piece?.share(this.#from, this.#until)
    this.#from = this.#until
    this.#isDue = false
    return bytes
  }

  /** Resolves when a piece is full, when some bytes have waited long enough, and at the end. */
  async arrival(): Promise<void> {
    if (this.#full.length > 0 || (this.#isDue && this.#from < this.#until) || this.#end) return
    this.#arrival = deferred()
    await this.#arrival.promise
  }

  /** Nobody takes any more. */
  leave(): void {
    this.#isLeft = true
    for (const bytes of this.#full.splice(0)) bytes.release()
  }

  get #left(): number {
    return (this.#options.length ?? Number.POSITIVE_INFINITY) - this.#received
  }

  get #mustWait(): boolean {
    return this.#pacing > 0 || this.#full.length >= capacity
  }

  #closePiece(): void {
    const piece = this.#piece
    if (piece && this.#from < this.#until && !this.#isLeft)
      this.#full.push(piece.share(this.#from, this.#until))
    piece?.release()
    this.#piece = undefined
    this.#from = 0
    this.#until = 0
  }

  #announce(): void {
    if (this.#full.length > 0 || this.#isDue) this.#arrival.resolve()
    // Also behind a full piece: when that is taken, nothing need come any more that would tell of the rest.
    if (!this.#isDue && this.#from < this.#until)
      this.#bundling ??= setTimeout(() => this.#noteDue(), bundleMs)
  }

  #noteDue(): void {
    this.#bundling = undefined
    this.#isDue = true
    this.#arrival.resolve()
  }

  #keepPace(count: number): void {
    const { pace, onFailure } = this.#options
    if (!pace) return
    this.#pacing += 1
    pace(count).then(() => {
      this.#pacing -= 1
      this.#goOn()
    }, onFailure)
  }

  #goOn(): void {
    if (!this.#isHeld || this.#mustWait) return
    this.#isHeld = false
    this.#options.onRoom()
  }
}
