import type { Changes } from '../flow/changes.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { Source } from './source.ts'

/** One of the ways to a blob, and what came of it so far. */
export interface Way {
  readonly source: Source
  /** Bytes that whoever brought this way says the blob has: a claim. */
  readonly claim: number | undefined
  /** What its source says of that beside the bytes, once it was asked: enough for clients to begin, and the bytes end where they end. */
  asked: { readonly size: number | undefined } | undefined
  /** Tries in a row that brought next to nothing. */
  failures: number
  /** Times that it was left for another one because nothing came, or contradicted what another one says. */
  doubts: number
  /** Times that bytes of it did not match the digest. */
  wrongs: number
  /** The same, where no other way had brought any of them. */
  wrongsAlone: number
  hasGiven: boolean
  ignoresRange: boolean
  /** Milliseconds of `performance.now()` before which it is not asked again. */
  readyAt: number
  /** How it last failed. */
  failure: Error | undefined
  isGivenUp: boolean
}

const maximumWaitMs = 30_000
/** Bytes that count as progress: an upstream that breaks off sooner is not asked again at once. */
export const worthwhileBytes = 16 * 1024

/** The ways to the bytes of one fill, in the order in which they were added, and which one is to be taken next. */
export class Ways {
  readonly #ways: Way[] = []
  readonly #retries: number
  readonly #isSuspect: (source: Source) => boolean
  /** The only one that is taken for now: bytes of several were wrong, and nobody knows whose. */
  #alone: Way | undefined
  #last: Error = new Error('there is no way to the bytes')

  /**
   * `retries`: attempts in a row without a new byte before a way is given up. `isSuspect`: whether what it brought a
   * moment ago, for an earlier fill, was wrong.
   */
  constructor(retries: number, isSuspect: (source: Source) => boolean) {
    this.#retries = retries
    this.#isSuspect = isSuspect
  }

  /**
   * Adds a way; the same repository's is taken for the same way, and one that was given up is tried again.
   * `isBest`: it is preferred to all others.
   */
  add(source: Source, { claim, isBest = false }: { claim: number | undefined; isBest?: boolean }): Way {
    const { repository } = source
    const known = this.#ways.find((way) => repository !== undefined && way.source.repository === repository)
    if (known && !known.isGivenUp) return known
    const doubts = isBest ? -1 : 0
    const wrongs = this.#isSuspect(source) ? 1 : 0
    const way: Way = {
      source,
      claim,
      asked: undefined,
      failures: 0,
      doubts,
      wrongs,
      wrongsAlone: wrongs,
      hasGiven: false,
      ignoresRange: false,
      readyAt: 0,
      failure: undefined,
      isGivenUp: false,
    }
    this.#ways.push(way)
    // What is stored was verified.
    if (isBest && this.#alone) this.#alone = way
    return way
  }

  /** The size that all say, where they agree. */
  get claim(): number | undefined {
    const claims = new Set(this.#ways.flatMap(({ claim }) => claim ?? []))
    return claims.size === 1 ? [...claims][0] : undefined
  }

  /** The same, of what sources said that were asked as well. */
  get likelySize(): number | undefined {
    const sizes = new Set(this.#ways.flatMap(({ claim, asked }) => claim ?? asked?.size ?? []))
    return sizes.size === 1 ? [...sizes][0] : undefined
  }

  /** Whether there is none but those that alone have brought wrong bytes. */
  get isSuspect(): boolean {
    const open = this.#ways.filter(({ isGivenUp }) => !isGivenUp)
    return open.length > 0 && open.every(({ wrongsAlone }) => wrongsAlone > 0)
  }

  /** Takes this way alone from now on, as long as it is any use. */
  prefer(way: Way): void {
    this.#alone = way
  }

  /** Whether another way is untried, or has done better. `elsewhere`: those of the same upstream do not count. */
  hasBetterThan(way: Way, { elsewhere }: { elsewhere: boolean }): boolean {
    return this.#open.some((other) => {
      if (other === way || (elsewhere && other.source.name === way.source.name)) return false
      return isUntried(other) || compare(other, way) < 0
    })
  }

  /** Whether `way` would not be missed. `besides`: others that do not count. */
  hasOtherThan(way: Way, besides?: ReadonlySet<Way>): boolean {
    return this.#open.some((other) => other !== way && !besides?.has(other))
  }

  /** The best way, when it may be asked (again). Throws the last failure where none is left, or the signal's reason. */
  async next(changes: Changes, signal: AbortSignal): Promise<Way> {
    for (;;) {
      signal.throwIfAborted()
      const open = this.#open.toSorted(compare)
      if (open.length === 0) throw this.#last
      const now = performance.now()
      const ready = open.find(({ readyAt }) => readyAt <= now)
      if (ready) return ready
      const waitMs = Math.min(...open.map(({ readyAt }) => readyAt)) - now
      await changes.next(waitMs)
    }
  }

  /** What the last one that failed failed with. */
  get lastFailure(): Error {
    return this.#last
  }

  /** Whether something is left to try. */
  get isOpen(): boolean {
    return this.#open.length > 0
  }

  /** Whether a way has done better than another one so far. */
  isBetter(way: Way, other: Way): boolean {
    return compare(way, other) < 0
  }

  /** What this way says contradicts what is known: others first, and it not again at once, though it answers at once. */
  doubt(way: Way): void {
    way.doubts += 1
    way.readyAt = performance.now() + backoff(way.doubts)
  }

  /** A try of this way has failed after so many new bytes. */
  blame(way: Way, failure: UpstreamError, progress: number): void {
    this.#last = failure
    way.failure = failure
    way.failures = progress >= worthwhileBytes ? 0 : way.failures + 1
    if (failure.isFinal(way.hasGiven) || way.failures > this.#retries) way.isGivenUp = true
    way.readyAt = performance.now() + waitAfter(failure, way.failures)
  }

  /** There is nothing to be had by this way, however often it is tried. */
  giveUp(way: Way, failure: UpstreamError): void {
    this.#last = failure
    way.failure = failure
    way.isGivenUp = true
  }

  /**
   * The bytes that these ways brought do not match the digest. From now on one way after the other is taken alone, so
   * that what a wrong one brings is not mixed with the bytes of a good one; who was wrong twice, alone, is given up.
   */
  blameForBytes(ways: readonly Way[], cause: Error): void {
    for (const way of ways) {
      way.source.distrust?.()
      way.wrongs += 1
      const times = way.wrongs > 1 ? 'twice ' : ''
      const message = `it sent bytes ${times}that do not match their digest`
      way.failure = new UpstreamError('INVALID_RESPONSE', way.source.name, message, { cause })
      this.#last = way.failure
      way.failures = 0
      if (ways.length === 1) way.wrongsAlone += 1
      if (way.wrongsAlone > 1) way.isGivenUp = true
    }
    this.#alone = undefined
    ;[this.#alone] = this.#open.toSorted(compare)
  }

  get #open(): Way[] {
    if (this.#alone && !this.#alone.isGivenUp) return [this.#alone]
    return this.#ways.filter(({ isGivenUp }) => !isGivenUp)
  }
}

/** Whether what it brought did not match the digest, now or a moment ago for an earlier fill. */
export function wasWrong({ wrongs }: Way): boolean {
  return wrongs > 0
}

function isUntried({ hasGiven, failures, doubts, wrongs }: Way): boolean {
  return !hasGiven && failures + wrongs === 0 && doubts <= 0
}

/** Below 0 where `one` is to be taken before `other`. */
function compare(one: Way, other: Way): number {
  return one.wrongs - other.wrongs || one.failures + one.doubts - other.failures - other.doubts
}

/** Milliseconds: nothing after progress, then doubling, or what the upstream asks for within reason. */
function waitAfter(error: UpstreamError, failures: number): number {
  const asked = (error.retryAfterSeconds ?? 0) * 1000
  return Math.min(Math.max(asked, backoff(failures)), maximumWaitMs)
}

/** Milliseconds: doubled each time. */
function backoff(times: number): number {
  return times <= 0 ? 0 : Math.min(250 * 2 ** (times - 1), maximumWaitMs)
}
