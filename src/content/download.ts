import type { LentBytes } from '../flow/lent-bytes.ts'
import type { Turn, WhyOver } from '../flow/slots.ts'
import type { TokenBucket } from '../flow/token-bucket.ts'
import { RegistryError } from '../oci/error.ts'
import type { ByteInterval } from '../storage/ranges.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { Background } from './fill-options.ts'
import type { OpenedSpan } from './source.ts'
import type { Way } from './ways.ts'

export interface DownloadOptions {
  readonly way: Way
  /** The first bytes that are missing. */
  readonly gap: ByteInterval
  /** Whether bytes behind the gap are here already. */
  readonly isHole: boolean
  /** Since when the blob is wanted, in milliseconds of `performance.now()`. */
  readonly since: number
  /** Bounds the bytes per second of all downloads together. */
  readonly rate: TokenBucket | undefined
  /** Those who wait for the blob. */
  readonly clients: Iterable<string>
  /** For what it is while nobody waits. */
  readonly background: () => Background
  /** Milliseconds for which none of them has taken a byte, so that nothing can be written. */
  readonly restingMs: () => number
  /** The source has answered. Returns the size to go by; throws where nothing of the answer is to be used. */
  readonly onAnswer: (span: OpenedSpan) => Promise<number | undefined>
  /** Rejects with the reason of `left` where it may be left alone: the bytes are written all the same, or not. */
  readonly write: (position: number, lent: LentBytes, left: AbortSignal) => Promise<void>
  readonly signal: AbortSignal
}

/** One connection: brings one span of a blob by one way, in one turn on the line. */
export class Download implements Turn {
  readonly #options: DownloadOptions
  /** Aborts where it is left before it has an answer. */
  readonly #left = new AbortController()
  /** Aborts where not even what has arrived is waited for. */
  readonly #dropped = new AbortController()
  #span: OpenedSpan | undefined
  /** The blob's turn among those of its source. */
  #turn: Disposable | undefined
  #isLeft = false
  #lastSign = performance.now()
  #isQueued = true
  #receivingSince: number | undefined
  #bytes = 0
  /** What our own side waits for at this moment. */
  #holds = 0

  constructor(options: DownloadOptions) {
    this.#options = options
  }

  /** Whether it was told to leave. */
  get isLeft(): boolean {
    return this.#isLeft
  }

  /** Whether it may be waiting for its place on the line: then it is others of the same upstream that it waits for. */
  get isQueued(): boolean {
    return this.#isQueued
  }

  /** Milliseconds for which nothing has come although it could have. */
  get silentMs(): number {
    return this.#holds > 0 ? 0 : performance.now() - this.#lastSign
  }

  get clients(): Iterable<string> {
    return this.#options.clients
  }

  get background(): Background {
    return this.#options.background()
  }

  get receivingSince(): number | undefined {
    return this.#receivingSince
  }

  get bytes(): number {
    return this.#bytes
  }

  get restingMs(): number {
    return this.#options.restingMs()
  }

  /** Where the upstream cannot go on in the middle, a turn that ends would start the blob again. */
  end(why: WhyOver): boolean {
    const isWorthKeeping = why === 'turn' || why === 'share'
    if (isWorthKeeping && this.#bytes > 0 && this.#options.way.ignoresRange) return false
    this.leave()
    // Nobody takes it, so it would stay in memory.
    if (why === 'resting') this.#dropped.abort()
    return true
  }

  /** Ends it; what has arrived is still taken. */
  leave(): void {
    this.#isLeft = true
    if (this.#span) {
      this.#span.stop()
      this.#turn?.[Symbol.dispose]()
    } else this.#left.abort(new Error('another way is better'))
  }

  /**
   * Resolves when the span is here, or its turn is over, or it was left; with `end` where the body has ended in good
   * order. Throws UpstreamError, RegistryError SIZE_INVALID where an answer is empty, what `write` throws, or the
   * signal's reason.
   */
  async run(): Promise<'end' | undefined> {
    try {
      return await this.#run()
    } finally {
      this.#turn?.[Symbol.dispose]()
    }
  }

  async #run(): Promise<'end' | undefined> {
    const { way, gap, onAnswer } = this.#options
    const span = await this.#open()
    if (!span) return undefined
    if (this.#isLeft) {
      // It answered in the moment in which it was left.
      span.discard()
      return undefined
    }
    if (span.start < gap.start) way.ignoresRange = true
    this.#span = span
    let isRead = false
    try {
      const size = await this.#heldBack(() => onAnswer(span))
      if (span.start > gap.start) {
        const message = `it sent bytes from ${span.start} on when asked for those from ${gap.start} on`
        throw new UpstreamError('INVALID_RESPONSE', way.source.name, message)
      }
      isRead = true
      return await this.#receive(span, size)
    } catch (error) {
      if (error !== this.#dropped.signal.reason) throw error
      return undefined
    } finally {
      // An error that is kept somewhere may keep this one, by its stack, and must not keep megabytes of a connection.
      this.#span = undefined
      if (!isRead) span.discard()
    }
  }

  /** Undefined where it was left meanwhile. */
  async #open(): Promise<OpenedSpan | undefined> {
    const { way, gap, isHole, since, rate, signal } = this.#options
    const both = AbortSignal.any([signal, this.#left.signal])
    const pace = rate && ((bytes: number) => this.#heldBack(() => rate.take(bytes, both)))
    const end = isHole ? gap.end : undefined
    const onPlace = (): void => {
      this.#isQueued = false
      this.#lastSign = performance.now()
    }
    try {
      this.#turn = await way.source.turn?.(this, both)
      const span = await way.source.open(gap.start, { end, since, signal: both, turn: this, pace, onPlace })
      onPlace()
      return span
    } catch (error) {
      if (this.#isLeft && !signal.aborted) return undefined
      throw error
    }
  }

  async #receive(span: OpenedSpan, size: number | undefined): Promise<'end' | undefined> {
    const { way, gap, isHole, write } = this.#options
    const end = isHole ? gap.end : (size ?? gap.end)
    let position = span.start
    this.#lastSign = performance.now()
    for await (const chunk of span.body()) {
      this.#receivingSince ??= performance.now()
      this.#bytes += chunk.length
      using taken = chunk.share(0, Math.max(0, Math.min(chunk.length, end - position)))
      await this.#heldBack(() => write(position, taken, this.#dropped.signal))
      position += chunk.length
      way.hasGiven = true
      if (position >= end) return undefined
    }
    if (this.#isLeft) return undefined
    if (position >= end || (size === undefined && !isHole)) return 'end'
    if (position === 0 && gap.start === 0) {
      // A body that ends in good order and is empty was not cut: it is another content than was asked for.
      throw new RegistryError('SIZE_INVALID', `expected ${size} bytes, it sent none`)
    }
    const message = `it ended a blob after ${position} of ${size ?? 'all'} bytes`
    throw new UpstreamError('UNREACHABLE', way.source.name, message)
  }

  /** While our own side waits, silence is not the upstream's. */
  async #heldBack<Value>(wait: () => Promise<Value>): Promise<Value> {
    this.#holds += 1
    try {
      return await wait()
    } finally {
      this.#holds -= 1
      this.#lastSign = performance.now()
    }
  }
}
