import { Changes } from '../flow/changes.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import type { Attempt } from './attempt.ts'
import { Attempts } from './attempts.ts'
import { Crowd } from './crowd.ts'
import type { FillOptions, FollowOptions } from './fill-options.ts'
import { reportFailure } from './fill-report.ts'
import { Patience } from './patience.ts'
import { verifiedBefore } from './small-size.ts'
import type { Source } from './source.ts'
import { type Way, Ways } from './ways.ts'
import { Wishes } from './wishes.ts'

/** How it went: `handed`: verified and not kept. */
type Outcome = 'stored' | 'handed' | Error

/**
 * One digest on its way in. It belongs to nobody: readers come and go, and it runs on until the bytes are sealed. It
 * has a list of ways to the bytes, to which everybody who asks adds one; a way that is slow, wrong or refused is left
 * for the next. What is claimed of the size destroys nothing: the bytes that verify decide.
 */
export class Fill {
  readonly #options: FillOptions
  readonly #changes = new Changes()
  readonly #ways: Ways
  readonly #stopped = new AbortController()
  /** Those who wait for bytes, or read them. */
  readonly #wishes: Wishes
  readonly #clients = new Crowd(() => this.#stopIfUnwanted())
  readonly #ended: Promise<void>
  readonly #attempts: Attempts
  #outcome: Outcome | undefined
  #isEnding = false
  #waiting = 0
  #isDropped = false
  #impatience: NodeJS.Timeout | undefined

  private constructor(options: FillOptions, source: Source, claim: number | undefined) {
    this.#options = options
    this.#wishes = new Wishes(options.firstPart)
    this.#ways = new Ways(options.retries, (one) => options.suspects.has(options.digest, one.repository))
    this.#ways.add(source, { claim })
    this.#attempts = new Attempts(options, {
      first: source,
      ways: this.#ways,
      wishes: this.#wishes,
      clients: this.#clients,
      changes: this.#changes,
      isAwaited: () => this.#waiting > 0,
      onIdle: () => this.drop(new Error('its first part is here, and nobody has come yet')),
      onUnkept: () => this.#stopIfUnwanted(),
      onLast: () => {
        this.#isEnding = true
      },
      signal: this.#stopped.signal,
    })
    this.#ended = this.#run(source)
  }

  /** Begins at once. */
  static start(options: FillOptions, source: Source, claim: number | undefined): Fill {
    return new Fill(options, source, claim)
  }

  /** Resolves when it is over, however it went. */
  get ended(): Promise<void> {
    return this.#ended
  }

  /** Whether somebody who comes now can follow it; else its end has to be awaited, or another one begun. */
  get takesFollowers(): boolean {
    if (this.#isEnding || this.#stopped.signal.aborted) return false
    return !this.isHandedThrough || this.#attempt?.growing.isWhole === true
  }

  /** Whether the disk cannot take it, so that it opens no partial there. */
  get isHandedThrough(): boolean {
    return this.#attempt?.isWindow === true
  }

  /** Bytes of it that the disk holds. */
  get presentBytes(): number {
    return this.#attempt?.presentBytes ?? 0
  }

  /** Since when nobody has waited for it, in milliseconds of `performance.now()`; undefined: somebody does, or it ends. */
  get abandonedSince(): number | undefined {
    const isOver = this.#isEnding || this.#stopped.signal.aborted || this.#attempt?.isComplete
    return this.#clients.isEmpty && !isOver ? this.#clients.emptySince : undefined
  }

  /** Whether all of it is stored, or was. Once it is over. */
  get isStored(): boolean {
    return this.#outcome === 'stored'
  }

  /** Whether nobody came for it in time. */
  get isDropped(): boolean {
    return this.#isDropped
  }

  /** Whose upstreams have given bytes so far. */
  get confirmedBy(): ReadonlySet<RepositoryKey> {
    return this.#attempts.confirmed
  }

  /**
   * Adds a way to the bytes and waits until there is something to read: at once where a byte is here, else for the
   * first one, or as long as is polite before the headers of an answer have to leave if `claim` (bytes) says how large
   * it is. What is small is waited for until it is verified. Resolves with a reader, to be closed by the caller;
   * `stored` where it is to be read from the store by now, `gone` where it cannot be followed from its first byte any
   * more. Rejects when all ways failed, with the failure of this one if it did, or when `signal` aborts.
   */
  async follow(
    source: Source,
    { claim, client = '', ranges, signal }: FollowOptions,
  ): Promise<BlobReader | 'stored' | 'gone'> {
    const wasSuspect = this.#ways.isSuspect
    const way = this.#ways.add(source, { claim })
    if (wasSuspect && !this.#ways.isSuspect && !this.#isEnding) this.#attempts.beginAgainBy(way)
    if (this.#ways.hasOtherThan(way)) {
      this.#impatience ??= setInterval(() => this.#attempt?.leaveIfSlow(), this.#options.slowMs / 4).unref()
      this.#attempt?.leaveIfSlow()
    }
    this.#changes.announce()
    using patience = new Patience(this.#options.patienceMs, () => this.#changes.announce())
    const leave = this.#clients.enter(client)
    const takeBack = this.#wishes.add(ranges)
    this.#waiting += 1
    let isReading = false
    try {
      const found = await this.#changes.until(
        () => this.#offer(way, { claim, patience, ranges, leave }),
        signal,
      )
      isReading = found !== 'stored' && found !== 'gone'
      return found
    } finally {
      this.#waiting -= 1
      takeBack()
      if (!isReading) leave()
    }
  }

  /** The blob was stored by somebody else meanwhile: what is missing is taken from there, and the line is free. */
  addStored(source: Source): void {
    if (this.#isEnding) return
    this.#ways.add(source, { claim: undefined, isBest: true })
    this.#attempt?.leave()
    this.#changes.announce()
  }

  /** Ends it unless somebody has come for it; what was fetched stays for the next attempt. */
  drop(reason: Error): void {
    if (this.#wishes.hasBegun || this.#isEnding) return
    this.#isDropped = true
    this.#abort(reason)
  }

  /** Ends it; what was fetched stays for the next attempt. */
  async stop(reason: Error): Promise<void> {
    this.#abort(reason)
    await this.#ended
  }

  get #attempt(): Attempt | undefined {
    return this.#attempts.current
  }

  /** What somebody who waits can have now; undefined: nothing yet. Throws where nothing will come. */
  #offer(
    way: Way,
    {
      claim,
      patience,
      ranges,
      leave,
    }: Pick<FollowOptions, 'claim' | 'ranges'> & { patience: Patience; leave: () => void },
  ): BlobReader | 'stored' | 'gone' | undefined {
    if (this.#outcome === 'stored') return 'stored'
    if (this.#outcome instanceof Error) {
      throw way.isGivenUp && way.failure && !this.#stopped.signal.aborted ? way.failure : this.#outcome
    }
    const reading = { ranges, onClose: leave }
    const attempt = this.#attempt
    if (attempt?.isWindow && !attempt.growing.isWhole) return 'gone'
    if (attempt && this.#outcome === 'handed')
      return attempt.growing.reader(attempt.verifiedSize, way.source.name, reading)
    const size = attempt?.told ?? claim ?? way.asked?.size
    if (!attempt || size === undefined || size <= verifiedBefore(this.#ways.isSuspect) || this.#isEnding)
      return undefined
    if (!attempt.hasBytes && (claim === undefined || !patience.isOver)) return undefined
    // Where its partial ends at this moment, the next look finds the blob stored.
    return attempt.growing.reader(size, way.source.name, reading)
  }

  async #run(first: Source): Promise<void> {
    const { digest, logger } = this.#options
    try {
      // Whoever started it has to have the fill in hand before anything of it is told.
      await Promise.resolve()
      const outcome = await this.#attempts.run()
      this.#end('finished')
      this.#outcome = outcome
    } catch (cause) {
      const error = cause instanceof Error ? cause : new Error(String(cause))
      const isStopped = this.#stopped.signal.aborted
      if (!isStopped) reportFailure(logger, digest, first, error)
      this.#end(isStopped ? 'stopped' : 'failed')
      this.#outcome = error
    } finally {
      clearInterval(this.#impatience)
      this.#changes.announce()
    }
  }

  #end(how: 'finished' | 'failed' | 'stopped'): void {
    this.#isEnding = true
    this.#options.onEnd(how)
  }

  /** What is only handed through has no use without readers, and what may have no end would have none. */
  #stopIfUnwanted(): void {
    const attempt = this.#attempt
    if (!this.#clients.isEmpty) return
    const reason = new Error('the client has left')
    const isLeft = this.#wishes.hasBegun && (attempt?.share ?? 0) < this.#options.finishFrom
    if (this.#outcome === 'handed') void attempt?.partial?.discard(reason)
    else if (!this.#isEnding && (attempt?.isWindow || attempt?.isEndless || isLeft)) this.#abort(reason)
    if (this.abandonedSince !== undefined) this.#options.onAbandoned()
  }

  #abort(reason: Error): void {
    this.#stopped.abort(reason)
    this.#changes.announce()
    // Its writes may wait for readers that never come.
    if (this.isHandedThrough) void this.#attempt?.partial?.discard(reason)
  }
}
