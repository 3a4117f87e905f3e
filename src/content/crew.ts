import type { Changes } from '../flow/changes.ts'
import type { LentBytes } from '../flow/lent-bytes.ts'
import type { Turn, WhyOver } from '../flow/slots.ts'
import type { TokenBucket } from '../flow/token-bucket.ts'
import type { ReadonlyRanges } from '../storage/ranges.ts'
import { UpstreamError } from '../upstream/error.ts'
import { Download } from './download.ts'
import type { FetchLimits } from './fetch-limits.ts'
import {
  type FetchSite,
  isMissing,
  maximumUnknownSize,
  nextSpan,
  overlaps,
  type PlannedSpan,
} from './fetch-plan.ts'
import type { Background } from './fill-options.ts'
import type { Ramp } from './ramp.ts'
import type { OpenedSpan } from './source.ts'
import { type Way, worthwhileBytes } from './ways.ts'

export interface CrewOptions {
  readonly limits: FetchLimits
  readonly site: () => FetchSite
  readonly rate: TokenBucket | undefined
  /** Those who wait for the blob. */
  readonly clients: Iterable<string>
  readonly background: () => Background
  readonly restingMs: () => number
  readonly since: number
  /** Announced whenever there may be something else to do. */
  readonly changes: Changes
  readonly onAnswer: (way: Way, span: OpenedSpan) => Promise<number | undefined>
  /** One of several connections broke off, and another one goes on where it was. */
  readonly onBroken: () => void
  /** False where the bytes are too early: others are missing before them. */
  readonly write: (way: Way, position: number, lent: LentBytes, left: AbortSignal) => Promise<boolean>
  readonly signal: AbortSignal
}

/** The part of `limits.rate` that is as good as all of it. */
const reached = 0.7
/** Milliseconds between two looks at how it goes. */
const reviewMs = 200
/** Milliseconds that a connection may still need when its turn is over, rather than lose what is on its way. */
const graceMs = 1000
/** Silence after which a connection is replaced while others bring bytes: milliseconds at least, and round trips. */
const stalled = { ms: 3000, roundTrips: 8 }
/** Spans that others may be ahead of what is missed first; first spans at least, one of which a slow connection still has. */
const spansAhead = 2
/** Spans for each connection into which what is missing is divided, so that all of them end together. */
const sharesEach = 2

/**
 * The connections that bring a blob by one way, in one turn on the line: one at first, and further ones where the plan has
 * something for them and the ramp says that they help.
 */
export class Crew implements Turn {
  readonly #way: Way
  readonly #ramp: Ramp
  readonly #options: CrewOptions
  readonly #working = new Set<Download>()
  readonly #workers = new Set<Promise<void>>()
  readonly #left = new AbortController()
  #isOver = false
  #isQueued = true
  #failure: { readonly error: unknown } | undefined
  #ending: 'end' | undefined
  #bytes = 0
  #receivingSince: number | undefined
  /** When the latest byte came, by whichever of them. */
  #latestAt = Number.NEGATIVE_INFINITY
  readonly #startedAt = performance.now()

  constructor(way: Way, ramp: Ramp, options: CrewOptions) {
    this.#way = way
    this.#ramp = ramp
    this.#options = options
  }

  /** Whether it was told to leave. */
  get isLeft(): boolean {
    return this.#left.signal.aborted
  }

  /** Whether it may be waiting for others of the same upstream. */
  get isQueued(): boolean {
    if (this.#working.size === 0) return this.#isQueued
    return [...this.#working].every(({ isQueued }) => isQueued)
  }

  /** Milliseconds for which nothing has come although it could have. */
  get silentMs(): number {
    if (this.#working.size === 0) return performance.now() - this.#startedAt
    return Math.min(...[...this.#working].map(({ silentMs }) => silentMs))
  }

  get clients(): Iterable<string> {
    const { clients, site } = this.#options
    return isMissing({ ...site(), bringsAll: false }) ? clients : []
  }

  /** What is here of a blob somebody gets at once. */
  get isStarved(): boolean {
    return this.#options.site().present.total === 0
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

  end(why: WhyOver): boolean {
    if ((why === 'turn' || why === 'share') && this.#bytes > 0 && this.#way.ignoresRange) return false
    this.#isOver = true
    for (const download of this.#working) {
      if (why === 'resting') download.end(why)
      else if (!(download.leftMs < graceMs)) download.leave()
    }
    return true
  }

  /** Ends it; what has arrived is still taken. */
  leave(): void {
    this.#isOver = true
    this.#left.abort(new Error('another way is better'))
    for (const download of this.#working) download.leave()
  }

  /**
   * Resolves when nothing is missing any more, or its turn is over, or it was left; with `end` where a body has ended in good
   * order that nobody had told the end of. Throws as `Download.run`.
   */
  async run(): Promise<'end' | undefined> {
    const place = await this.#turn()
    // Another blob of the same upstream may find out that more connections help, or have done with its own.
    using _heard = this.#ramp.listen(() => this.#options.changes.announce())
    try {
      this.#isQueued = false
      for (this.#engage(); this.#workers.size > 0; this.#engage()) {
        await this.#options.changes.next(reviewMs)
        this.#replaceStalled()
      }
    } finally {
      place?.[Symbol.dispose]()
    }
    if (this.#failure) throw this.#failure.error
    return this.#ending
  }

  /** Undefined where it needs none. */
  async #turn(): Promise<Disposable | undefined> {
    const { limits, site, signal } = this.#options
    const { source } = this.#way
    if (!source.turn || (site().size ?? maximumUnknownSize) <= limits.smallBlob) return undefined
    const either = AbortSignal.any([signal, this.#left.signal])
    try {
      // Whoever left it alone would lose a place that is given in the same moment.
      return await source.turn(this, either)
    } catch (error) {
      if (this.isLeft && !signal.aborted) return undefined
      throw error
    }
  }

  /** Begins as many connections as there is something for, and as help. */
  #engage(): void {
    for (;;) {
      const isFurther = this.#workers.size > 0
      const span = this.#next(isFurther)
      if (!span || (isFurther && !(span.isUrgent ? this.#ramp.hasRoom : this.#mayAdd))) return
      const working = this.#work(span, isFurther).finally(() => {
        this.#workers.delete(working)
        this.#options.changes.announce()
      })
      this.#workers.add(working)
    }
  }

  /** Where `limits.rate` is reached, further connections only cost. */
  get #mayAdd(): boolean {
    const { rate } = this.#options
    const { connectionRate = 0, lanes, mayAdd } = this.#ramp
    return mayAdd && !(rate && connectionRate * lanes > reached * rate.perSecond)
  }

  /** What a connection is to bring; `isFurther`: others are at work already. */
  #next(isFurther: boolean): PlannedSpan<Download> | undefined {
    if (this.#isOver || this.#failure || this.#ending) return undefined
    const { limits, site } = this.#options
    const { size = maximumUnknownSize, isDivisible, ...rest } = site()
    if (isFurther && (!isDivisible || this.#way.ignoresRange)) return undefined
    const length = isDivisible || this.#bytes === 0 ? this.#length(size, rest.present) : size
    const underWay = [...this.#working]
    const ahead = spansAhead * Math.max(limits.firstSpan, length * Math.max(4, underWay.length + 1))
    return nextSpan({ ...rest, size, underWay, length, smallest: limits.smallestSpan, ahead })
  }

  /** Bytes of the next span. */
  #length(size: number, present: ReadonlyRanges): number {
    const { limits, rate } = this.#options
    const { roundTripMs = 0 } = this.#way.source
    const missing = Math.max(0, size - present.total)
    if (this.#way.ignoresRange || size === maximumUnknownSize) return size
    const known = this.#ramp.connectionRate
    const first = roundTripMs >= limits.longWayMs ? limits.firstSpanOfLongWay : limits.firstSpan
    const spanMs = Math.max(limits.spanMs, limits.spanRoundTrips * roundTripMs)
    const usual = known === undefined ? first : (known * spanMs) / 1000
    const share = this.#working.size > 0 ? missing / (sharesEach * (this.#working.size + 1)) : usual
    const length = Math.max(Math.min(usual, share, limits.largestSpan), limits.smallestSpan)
    // With a limit to the rate, what waits in the system's memory when a turn ends would be lost.
    if (rate) {
      const seconds = Math.max(0.5, (4 * roundTripMs) / 1000)
      return Math.ceil(Math.min(length, Math.max(seconds * rate.perSecond, limits.smallestSpan / 4)))
    }
    return this.#working.size === 0 && missing <= 1.5 * length ? size : Math.ceil(length)
  }

  /** One connection, span after span. */
  async #work(first: PlannedSpan<Download>, isFurther: boolean): Promise<void> {
    using lane = this.#ramp.enter(this.#way.source.roundTripMs)
    for (let span: PlannedSpan<Download> | undefined = first; span; ) {
      span.cuts?.shorten(span.start)
      const download = this.#download(span, (bytes) => lane.received(bytes))
      this.#working.add(download)
      try {
        this.#ending = (await download.run()) ?? this.#ending
      } catch (error) {
        this.#failed(download, error)
      } finally {
        this.#working.delete(download)
      }
      const isDone = this.#ending !== undefined || download.isLeft || download.hasFailed
      if (isDone || (isFurther && this.#ramp.isSurplus)) return
      span = this.#next(this.#working.size > 0)
    }
  }

  #download(span: PlannedSpan, received: (bytes: number) => void): Download {
    const { site, since, rate, clients, onAnswer, write, changes, signal } = this.#options
    const way = this.#way
    const { size = maximumUnknownSize, present } = site()
    const download: Download = new Download({
      way,
      span,
      gapEnd: present.firstGap(size, span.start)?.end ?? size,
      isClosed: span.end < size,
      isFurther: this.#working.size > 0,
      since,
      rate,
      // Somebody may have come for what was begun for nobody, and the other way round.
      clients: () => (site().wants.some((want) => overlaps(want, download)) ? clients : []),
      blob: this,
      onAnswer: (answer) => onAnswer(way, answer),
      write: async (position, lent, left) => {
        this.#latestAt = performance.now()
        this.#receivingSince ??= this.#latestAt
        const isFirst = download.bytes === lent.length
        this.#bytes += lent.length
        received(lent.length)
        if (!(await write(way, position, lent, left))) download.leave()
        if (isFirst) changes.announce()
      },
      signal,
    })
    return download
  }

  /** A further connection that fails is missed by nobody, as long as another one brings bytes. */
  #failed(download: Download, error: unknown): void {
    const isMissed = ![...this.#working].some((other) => other !== download && other.bytes > 0)
    if (!(error instanceof UpstreamError) || isMissed) {
      this.#failure ??= { error }
      for (const other of this.#working) other.leave()
    } else if (download.bytes < worthwhileBytes) this.#ramp.refused()
    else this.#options.onBroken()
  }

  /** What a connection does not bring any more, though others have brought bytes since, is brought by another one. */
  #replaceStalled(): void {
    const { roundTripMs = 0 } = this.#way.source
    const longest = Math.max(stalled.ms, stalled.roundTrips * roundTripMs)
    const quietMs = performance.now() - this.#latestAt
    for (const download of this.#working) {
      // Where all fell silent at a time it is the line, which a further connection would find no better.
      const isAlone = download.silentMs - quietMs > longest / 3
      if (download.silentMs > longest && isAlone) download.leave()
    }
  }
}
