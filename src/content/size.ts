import { abortable } from '../flow/abortable.ts'
import { type Digest, isDigestOfNothing } from '../oci/digest.ts'
import type { ReadonlyRanges } from '../storage/ranges.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { Source } from './source.ts'
import type { Way, Ways } from './ways.ts'

/**
 * The bytes that are here are more than what a source says the blob has, or not what they should be although it says
 * that there are no more. One of the two is wrong, and only other bytes can tell.
 */
export class Contradiction extends Error {
  /** The one that says so. */
  readonly source: Source

  constructor(source: Source, cause?: unknown) {
    super('what an earlier attempt left contradicts what the upstream says now', { cause })
    this.name = 'Contradiction'
    this.source = source
  }
}

/** The blob cannot be kept, and cannot be handed through either: nobody could be told how much it is. */
export class Unsized extends UpstreamError {
  constructor(upstream: string) {
    super('INVALID_RESPONSE', upstream, 'it does not tell the size of a blob that there is no room for')
  }
}

/** This way's answer contradicts what is known, so that another one is asked first. */
export class Doubt extends Error {}

/**
 * The size of a blob on its way in, as far as it is known: claims of descriptors, what sources tell, what the bytes that
 * are here have refuted. None of it destroys anything: where it is contradicted another way is asked, or other bytes.
 */
export class Size {
  readonly #ways: Ways
  #claim: number | undefined
  #told: { readonly bytes: number; readonly by: Way } | undefined
  /** Bytes that the blob does not have in all: as many are here, and they are not it. */
  #refuted: number | undefined
  /** Those that last told less than is here: they have nothing to say against each other. */
  readonly #tooSmall = new Set<Way>()

  /** `claim`: bytes, as all descriptors say that were heard of. */
  constructor(ways: Ways, claim: number | undefined) {
    this.#ways = ways
    this.#claim = claim
  }

  /** Bytes, as a source has told, or else all claims say; the digest has the last word. */
  get bytes(): number | undefined {
    return this.told ?? this.#claim
  }

  /** Bytes, as a source has told that was not given up since. */
  get told(): number | undefined {
    return this.#told?.by.isGivenUp ? undefined : this.#told?.bytes
  }

  /** What is here was hashed, and is not all of `digest`, whoever says that a blob has no more than that. */
  refuteBy(present: ReadonlyRanges | undefined, digest: Digest): void {
    const end = endOf(present)
    const isContiguous = present !== undefined && present.total === end
    if (isContiguous && end > 0) this.#refuted = end
    if (this.#claim === undefined || (this.#claim === 0 && isDigestOfNothing(digest))) return
    const hasAllOfIt = present !== undefined && present.firstGap(this.#claim) === undefined
    if (this.#claim === 0 || this.#claim < end || hasAllOfIt) this.#claim = undefined
  }

  /** There is less than all claim. False where that is not what anybody goes by. */
  disclaim(): boolean {
    const isClaimed = this.told === undefined && this.#claim !== undefined
    this.#claim = undefined
    return isClaimed
  }

  /**
   * Goes by what `way` tells if nothing contradicts it; what it told itself before does not, nor what one has told that
   * has done worse since: they would be doubted in turn for ever, as would ways that all tell less than is here. Throws
   * Doubt where another way is to be asked first, UpstreamError INVALID_RESPONSE where it contradicts what was told
   * before, Contradiction where it contradicts the bytes.
   */
  heed(told: number, way: Way, present: ReadonlyRanges | undefined): void {
    const teller = this.#told?.by
    const isOutdone = teller && (teller === way || this.#ways.isBetter(way, teller))
    const known = isOutdone ? undefined : this.told
    const isOther = known !== undefined && told !== known
    const isTooSmall = told < endOf(present) || told === this.#refuted
    const isAgainstClaim =
      known === undefined && way.claim !== undefined && told !== way.claim && way.doubts < 1
    if (isTooSmall) this.#tooSmall.add(way)
    else this.#tooSmall.delete(way)
    const besides = isTooSmall ? this.#tooSmall : undefined
    const isDoubtful = isOther || isTooSmall || isAgainstClaim
    if (isDoubtful && this.#ways.hasOtherThan(way, besides)) throw new Doubt()
    // Once something else was told that the bytes agreed with, this is the odd one, and may be right the next time.
    if (isOther || (isTooSmall && this.#told)) {
      const message = `it has ${told} bytes under a digest whose content has ${this.#told?.bytes}`
      throw new UpstreamError('INVALID_RESPONSE', way.source.name, message)
    }
    if (isTooSmall) throw new Contradiction(way.source)
    this.#told = { bytes: told, by: way }
  }
}

/**
 * Asks a way that sends bytes for the size, once: clients have them as they come, and where there is no room at all, if they
 * can be told how many there are. Waits for so many milliseconds at most. Throws the signal's reason, and what is not its
 * upstream's failure.
 */
export async function askSize(way: Way, patienceMs: number, signal: AbortSignal): Promise<void> {
  if (way.asked || !way.source.size) return
  way.asked = { size: undefined }
  const either = AbortSignal.any([signal, AbortSignal.timeout(patienceMs)])
  const asking = abortable(way.source.size({ signal: either }), either)
  const size = await asking.catch((error: unknown) => {
    signal.throwIfAborted()
    if (error instanceof UpstreamError || either.aborted) return undefined
    throw error
  })
  way.asked = { size }
}

/** Where the last byte that is here ends. */
function endOf(present: ReadonlyRanges | undefined): number {
  return [...(present ?? [])].at(-1)?.end ?? 0
}
