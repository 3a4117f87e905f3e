import type { LentBytes } from '../flow/lent-bytes.ts'
import type { Turn, WhyOver } from '../flow/slots.ts'
import type { TokenBucket } from '../flow/token-bucket.ts'
import { RegistryError } from '../oci/error.ts'
import type { ByteInterval } from '../storage/ranges.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { UnderWay } from './fetch-plan.ts'
import type { Background } from './fill-options.ts'
import type { OpenedSpan } from './source.ts'
import type { Way } from './ways.ts'

export interface DownloadOptions {
  readonly way: Way
  /** What it is to bring. */
  readonly span: ByteInterval
  /** Where bytes begin that are here already, or the blob ends. */
  readonly gapEnd: number
  /** Whether the source is told where that ends; else it sends all that the blob has. */
  readonly isClosed: boolean
  /** Whether others bring bytes of the same blob meanwhile. */
  readonly isFurther: boolean
  /** Since when the blob is wanted, in milliseconds of `performance.now()`. */
  readonly since: number
  /** Bounds the bytes per second of all downloads together. */
  readonly rate: TokenBucket | undefined
  /** Those who wait for what it brings. */
  readonly clients: () => Iterable<string>
  /** The turn of the whole blob. */
  readonly blob: Pick<Turn, 'background' | 'isStarved' | 'restingMs'>
  /** The source has answered. Returns the size to go by; throws where nothing of the answer is to be used. */
  readonly onAnswer: (span: OpenedSpan) => Promise<number | undefined>
  /** Rejects with the reason of `left` where it may be left alone: the bytes are written all the same, or not. */
  readonly write: (position: number, lent: LentBytes, left: AbortSignal) => Promise<void>
  readonly signal: AbortSignal
}

/** The longest spans that are paid before they are asked for, in seconds of the rate. */
const paidSeconds = 10
/** Milliseconds: what comes sooner than that, nobody else brings sooner. */
const soonMs = 1000
/** Milliseconds of the line after which one is known to be slow, and that it needs then for the rest. */
const lagging = { afterMs: 5000, leftMs: 10_000 } as const

/** One connection: brings one span of a blob by one way. */
export class Download implements Turn, UnderWay {
  readonly #options: DownloadOptions
  /** Aborts where it is left before it has an answer. */
  readonly #left = new AbortController()
  /** Aborts where not even what has arrived is waited for. */
  readonly #dropped = new AbortController()
  #span: OpenedSpan | undefined
  #position: number
  #until: number
  #isLeft = false
  #hasFailed = false
  #lastSign = performance.now()
  #isQueued = true
  #receivingSince: number | undefined
  #bytes = 0
  /** What our own side waits for at this moment. */
  #holds = 0
  #heldSince = 0
  /** Milliseconds in which our own side waited, once bytes came. */
  #heldMs = 0

  constructor(options: DownloadOptions) {
    this.#options = options
    this.#position = options.span.start
    this.#until = options.span.end
  }

  /** Of the next byte that it brings. */
  get position(): number {
    return this.#position
  }

  get until(): number {
    return this.#isLeft ? this.#position : this.#until
  }

  get reach(): number {
    return Math.ceil((this.rate * soonMs) / 1000)
  }

  /** Bytes a second; 0 before the first one. */
  get rate(): number {
    if (this.#receivingSince === undefined) return 0
    return (this.#bytes * 1000) / Math.max(1, performance.now() - this.#receivingSince)
  }

  /** Whether it was told to leave. */
  get isLeft(): boolean {
    return this.#isLeft
  }

  /** Whether it has ended otherwise than it should. */
  get hasFailed(): boolean {
    return this.#hasFailed
  }

  /** Where our own disk is slow, or this machine for a moment, what is on its way is much, and would come twice. */
  get isLagging(): boolean {
    const { isClosed, way } = this.#options
    if (this.#receivingSince === undefined || this.#holds > 0 || !isClosed || way.ignoresRange) return false
    const lineMs = performance.now() - this.#receivingSince - this.#heldMs
    const left = this.until - this.#position
    return lineMs >= lagging.afterMs && (left * lineMs) / Math.max(1, this.#bytes) >= lagging.leftMs
  }

  get isFurther(): boolean {
    return this.#options.isFurther
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
    return this.#options.clients()
  }

  get isStarved(): boolean {
    return this.#options.blob.isStarved === true
  }

  get background(): Background | undefined {
    return this.#options.blob.background
  }

  get receivingSince(): number | undefined {
    return this.#receivingSince
  }

  get bytes(): number {
    return this.#bytes
  }

  get restingMs(): number {
    return this.#options.blob.restingMs
  }

  /** Milliseconds in which all of it will be here, as it comes now. */
  get leftMs(): number {
    const left = this.until - this.#position
    return left <= 0 ? 0 : (left * 1000) / this.rate
  }

  /** From here on somebody else brings it. */
  shorten(until: number): void {
    this.#until = Math.min(this.#until, until)
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
    if (this.#span) this.#span.stop()
    else this.#left.abort(new Error('another way is better'))
  }

  /**
   * Resolves when the span is here, or its turn is over, or it was left; with `end` where the body has ended in good
   * order. Throws UpstreamError, RegistryError SIZE_INVALID where an answer is empty, what `write` throws, or the
   * signal's reason.
   */
  async run(): Promise<'end' | undefined> {
    try {
      return await this.#bring()
    } catch (error) {
      this.#hasFailed = true
      throw error
    } finally {
      const { span, rate } = this.#options
      if (this.#isPaid) rate?.charge(Math.min(0, this.#bytes - (span.end - span.start)))
    }
  }

  async #bring(): Promise<'end' | undefined> {
    const { way, span: asked, isClosed, gapEnd, onAnswer } = this.#options
    const span = await this.#open()
    if (!span) return undefined
    if (this.#isLeft) {
      // It answered in the moment in which it was left.
      span.discard()
      return undefined
    }
    const isMore = isClosed && span.end !== undefined && span.end > asked.end
    const isIgnored = span.start < asked.start || isMore
    if (isIgnored) way.ignoresRange = true
    if (isIgnored && this.isFurther) {
      // Others bring bytes, and from now on one of them alone.
      span.discard()
      return undefined
    }
    this.#span = span
    let isRead = false
    try {
      const size = await this.#heldBack(() => onAnswer(span))
      if (span.start > asked.start) {
        const message = `it sent bytes from ${span.start} on when asked for those from ${asked.start} on`
        throw new UpstreamError('INVALID_RESPONSE', way.source.name, message)
      }
      // What it sends anyway need not be asked for.
      if (isMore) this.#until = Math.max(this.#until, Math.min(size ?? span.end ?? 0, gapEnd))
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

  /** Whether the rate is held by what is asked for. */
  get #isPaid(): boolean {
    const { rate, span } = this.#options
    return rate !== undefined && span.end - span.start <= paidSeconds * rate.perSecond
  }

  /** Undefined where it was left meanwhile. */
  async #open(): Promise<OpenedSpan | undefined> {
    const { way, span, isClosed, since, rate, signal } = this.#options
    const both = AbortSignal.any([signal, this.#left.signal])
    const paced = rate && ((bytes: number) => this.#heldBack(() => rate.take(bytes, both)))
    // What is read slowly has crossed the line all the same, as far as the system's memory goes: a span is paid before.
    const pace = this.#isPaid ? undefined : paced
    const end = isClosed ? span.end : undefined
    const onPlace = (): void => {
      this.#isQueued = false
      this.#lastSign = performance.now()
    }
    try {
      if (this.#isPaid) await paced?.(span.end - span.start)
      const opened = await way.source.open(span.start, {
        end,
        since,
        signal: both,
        turn: this,
        pace,
        onPlace,
      })
      onPlace()
      return opened
    } catch (error) {
      if (this.#isLeft && !signal.aborted) return undefined
      throw error
    }
  }

  async #receive(span: OpenedSpan, size: number | undefined): Promise<'end' | undefined> {
    const { way, span: asked, isClosed, write } = this.#options
    // The blob's size says where an open one ends, unless somebody else brings the rest, and a closed one at the latest.
    if (size !== undefined)
      this.#until = isClosed || this.#until < asked.end ? Math.min(this.#until, size) : size
    const announced = isClosed && !way.ignoresRange ? span.end : undefined
    // What comes behind that is none of its bytes.
    const end = Math.min(size ?? Number.POSITIVE_INFINITY, span.end ?? Number.POSITIVE_INFINITY)
    let position = span.start
    this.#lastSign = performance.now()
    for await (const chunk of span.body()) {
      this.#receivingSince ??= performance.now()
      this.#bytes += chunk.length
      const isTooLong = position + chunk.length > end
      const wanted = Math.min(this.#until, end) - position
      using taken = chunk.share(0, Math.max(0, Math.min(chunk.length, wanted)))
      await this.#heldBack(() => write(position, taken, this.#dropped.signal))
      position = isTooLong ? end : position + chunk.length
      this.#position = Math.max(this.#position, position)
      way.hasGiven = true
      if (position >= this.#until) return undefined
      if (isTooLong) break
    }
    // A shorter part than was asked for, or one that was left, is good as far as it goes, if it goes anywhere.
    const isPart =
      announced !== undefined && position >= announced && (position > span.start || position === size)
    if (this.#isLeft || isPart) return undefined
    // Of a blob of no bytes there is no part, however small a part was asked for.
    const isUntold = size === undefined && (!isClosed || position === 0)
    if (position >= this.#until || isUntold) return 'end'
    if (position === 0 && asked.start === 0) {
      // A body that ends in good order and is empty was not cut: it is another content than was asked for.
      throw new RegistryError('SIZE_INVALID', `expected ${size} bytes, it sent none`)
    }
    const message = `it ended a blob after ${position} of ${size ?? 'all'} bytes`
    throw new UpstreamError('UNREACHABLE', way.source.name, message)
  }

  /** While our own side waits, silence is not the upstream's. */
  async #heldBack<Value>(wait: () => Promise<Value>): Promise<Value> {
    if (this.#holds === 0) this.#heldSince = performance.now()
    this.#holds += 1
    try {
      return await wait()
    } finally {
      this.#holds -= 1
      this.#lastSign = performance.now()
      if (this.#holds === 0 && this.#receivingSince !== undefined)
        this.#heldMs += this.#lastSign - Math.max(this.#heldSince, this.#receivingSince)
    }
  }
}
