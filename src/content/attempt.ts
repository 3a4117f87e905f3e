import type { LentBytes } from '../flow/lent-bytes.ts'
import type { TokenBucket } from '../flow/token-bucket.ts'
import { isDigestOfNothing } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { Partial } from '../storage/partial.ts'
import { Ranges } from '../storage/ranges.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import { Fetch } from './fetch.ts'
import type { FetchLimits } from './fetch-limits.ts'
import type { FetchSite, Want } from './fetch-plan.ts'
import type { Background } from './fill-options.ts'
import { Growing } from './growing.ts'
import { Landing, type LandingOptions } from './landing.ts'
import type { Origins } from './origins.ts'
import { isWhole } from './partial-ends.ts'
import type { Ramp } from './ramp.ts'
import { askSize, Contradiction, Size } from './size.ts'
import { verifiedBefore } from './small-size.ts'
import type { OpenedSpan } from './source.ts'
import { type Way, type Ways, wasWrong } from './ways.ts'

export interface AttemptOptions extends LandingOptions {
  readonly ways: Ways
  readonly origins: Origins
  /** Whether sizes that descriptors claim are gone by until a source tells; not after they led to wrong bytes. */
  readonly heedsClaims: boolean
  /** Whose sources have answered. */
  readonly confirmed: Set<RepositoryKey>
  /** Those who wait for the blob. */
  readonly clients: Iterable<string>
  /** For what it is while nobody waits. */
  readonly background: () => Background
  readonly rate: TokenBucket | undefined
  /** What those who wait are going to read, beside those who read already. */
  readonly wants: () => readonly Want[]
  /** Whether what nobody wants is brought as well; `share`: the part of it that is here. */
  readonly bringsAll: (share: number) => boolean
  /** Nothing more is to be brought for now. */
  readonly onIdle: () => void
  readonly limits: FetchLimits
  /** How many connections help, by the name of an upstream. */
  readonly rampOf: (upstream: string) => Ramp
  /** Milliseconds without a byte after which a way is left for a better one. */
  readonly slowMs: number
  /** Milliseconds for which a source is asked for the size, while its bytes wait. */
  readonly patienceMs: number
  readonly since: number
  readonly signal: AbortSignal
}

const nothing = new Ranges()
/** Bytes of such a blob that nobody has to wait for, before it may go on for ever. */
const endlessFrom = 16 * 1024 * 1024

/** One attempt to have all bytes of a blob in one partial, by whichever ways: the same one that earlier attempts left. */
export class Attempt {
  readonly growing: Growing
  readonly #brought = new Set<Way>()
  readonly #answered = new Set<Way>()
  readonly #options: AttemptOptions
  readonly #size: Size
  readonly #abandoned = new AbortController()
  readonly #signal: AbortSignal
  readonly #landing: Landing
  #keptBytes = 0
  #verified: number | undefined
  #resumes = 0
  /** Whether the next answer goes on where an earlier one broke off, or had to leave off. */
  #isBroken = false
  readonly #fetch: Fetch

  constructor(options: AttemptOptions) {
    this.#options = options
    this.growing = new Growing({
      isDoubtful: (upstream) =>
        this.blameable.some(wasWrong) || !options.origins.isOnly(options.digest, upstream),
      onMoved: () => options.changes.announce(),
    })
    this.#signal = AbortSignal.any([options.signal, this.#abandoned.signal])
    this.#size = new Size(options.ways, options.heedsClaims ? options.ways.claim : undefined)
    const size = () => this.#size.bytes ?? this.#verified ?? this.#likelySize
    this.#landing = new Landing(options, { growing: this.growing, size, signal: this.#signal })
    this.#fetch = new Fetch({
      ...options,
      site: () => this.#site(),
      isTold: () => this.#size.told !== undefined,
      pause: () => {
        this.#isBroken = this.hasBytes
        return this.#landing.pause()
      },
      restingMs: () => this.growing.fullMs,
      onAnswer: (way, span) => this.#heed(way, span),
      onBroken: () => {
        this.#isBroken = true
      },
      write: (way, position, lent, left) => this.#write(way, position, lent, left),
      signal: this.#signal,
    })
  }

  /** Bytes, as a source has told. */
  get told(): number | undefined {
    return this.#size.told
  }

  get hasBytes(): boolean {
    return this.#present > 0
  }

  /** Bytes that are here, once they are verified. */
  get verifiedSize(): number {
    return this.#present
  }

  /** The part of it that is here, as far as the size is known. */
  get share(): number {
    return this.#size.bytes === undefined ? 0 : this.#present / Math.max(1, this.#size.bytes)
  }

  /** Bytes that the disk holds. */
  get presentBytes(): number {
    return this.isWindow ? 0 : this.#present
  }

  /** Whether all of it is here, as far as the size is known. */
  get isComplete(): boolean {
    return this.#size.bytes !== undefined && this.#present >= this.#size.bytes
  }

  /** Whether much has come, and nobody has told where it ends, or it goes on behind where its source said so. */
  get isEndless(): boolean {
    return this.#size.bytes === undefined && this.#present > (this.#likelySize ?? 0) + endlessFrom
  }

  /** Whether the disk cannot take it. */
  get isWindow(): boolean {
    return this.#landing.window !== undefined
  }

  /** The ways that have brought the bytes, or at least an answer. */
  get blameable(): Way[] {
    return [...(this.#brought.size > 0 ? this.#brought : this.#answered)]
  }

  /** Bytes that an earlier attempt had left. */
  get keptBytes(): number {
    return this.#keptBytes
  }

  /** Connections that went on in the middle of the blob. */
  get resumes(): number {
    return this.#resumes
  }

  /** What it writes to; undefined before the first byte. */
  get partial(): Partial | undefined {
    return this.#landing.partial
  }

  /**
   * Resolves when all bytes are in the partial, and match the digest. Throws what the last way failed with,
   * RegistryError DIGEST_INVALID or SIZE_INVALID where bytes are wrong, Contradiction, StorageError, or the signal's
   * reason.
   */
  async run(): Promise<void> {
    const { digest } = this.#options
    const kept = await this.#landing.takeUp()
    this.#keptBytes = this.#present
    if (this.#keptBytes === 0) this.#options.origins.begin(digest)
    // A process may have ended just before it sealed: the hash says so, nobody's size does.
    if (this.#keptBytes > 0 && kept && (await this.#isWhole(kept))) return
    this.#size.refuteBy(this.partial?.present, digest)
    for (;;) {
      const ender = await this.#fetch.run()
      if (!this.partial && !isDigestOfNothing(digest)) {
        throw new RegistryError('DIGEST_INVALID', `expected ${digest}, there are no bytes`)
      }
      const partial = this.partial ?? (await this.#landing.begin())
      try {
        await partial.verify(digest)
        this.#verified = this.#present
        return
      } catch (error) {
        if (ender && error instanceof RegistryError) {
          // Who asked for more than there is was told so by a claim, and other bytes are missing before it.
          if (error.code === 'SIZE_INVALID' && this.#size.disclaim()) continue
          throw new Contradiction(ender.source, error)
        }
        // What the disk cannot read back is missing again.
        await this.#landing.survive(error)
      }
    }
  }

  /**
   * Publishes what was verified. Those who have it from memory need not wait for a slow disk, and where the disk fails those
   * who follow notice nothing. Throws as `run`.
   */
  async publish(publish: (partial: Partial) => Promise<void>): Promise<void> {
    this.growing.verified(this.#present)
    if (!this.partial || this.isWindow) return
    try {
      await publish(this.partial)
      this.growing.synced()
    } catch (error) {
      await this.#landing.survive(error)
      await this.partial.verify(this.#options.digest)
    }
  }

  /** See `Fetch.leaveIfSlow`. */
  leaveIfSlow(): void {
    this.#fetch.leaveIfSlow()
  }

  /** Leaves the way that is taken for a better one. */
  leave(): void {
    this.#fetch.leave()
  }

  /** Ends it: what it brings is not to be trusted, and a better way is there. */
  abandon(reason: Error): void {
    this.#abandoned.abort(reason)
    // Its writes may wait for readers that never come.
    void this.#landing.window?.discard(reason)
  }

  get abandonedFor(): Error | undefined {
    return this.#abandoned.signal.reason as Error | undefined
  }

  get #likelySize(): number | undefined {
    return this.#options.heedsClaims ? this.#options.ways.likelySize : undefined
  }

  get #present(): number {
    return this.partial?.present.total ?? 0
  }

  async #isWhole(partial: Partial): Promise<boolean> {
    try {
      if (!(await isWhole(partial, this.#options.digest))) return false
      this.#verified = this.#present
      return true
    } catch (error) {
      await this.#landing.survive(error)
      return false
    }
  }

  #site(): FetchSite {
    const { heedsClaims, wants, bringsAll, ways } = this.#options
    const size = this.#size.bytes
    const present = this.partial?.present ?? nothing
    const isDivisible = heedsClaims && this.hasBytes && this.#size.told !== undefined && !this.isWindow
    const wanted = [...this.growing.wants, ...wants()]
    const all = { start: 0, end: Number.POSITIVE_INFINITY, isWaiting: false }
    // What is only handed through comes in order, and of what is small nobody has a part before all of it is verified.
    // Whoever was told a size that is too large has to hear it, which takes the digest.
    const isMistaken = ({ end }: Want): boolean => size !== undefined && Number.isFinite(end) && end > size
    const isAllWanted =
      this.isWindow ||
      wanted.some(isMistaken) ||
      (size === undefined ? this.hasBytes : size <= verifiedBefore(ways.isSuspect))
    return {
      size,
      present,
      isDivisible,
      wants: isAllWanted && wanted.length > 0 ? [all] : wanted,
      bringsAll: bringsAll(this.share),
    }
  }

  async #write(way: Way, position: number, lent: LentBytes, left: AbortSignal): Promise<boolean> {
    if (!this.#brought.has(way)) this.#options.origins.brought(this.#options.digest, way.source.name)
    this.#brought.add(way)
    const isFirst = !this.hasBytes
    if (!this.partial) await this.#landing.begin()
    if (this.isEndless) this.#options.onUnkept()
    const isWritten = await this.#landing.write(position, lent, { upstream: way.source.name, left })
    if (isFirst) this.#options.changes.announce()
    // What is missing before them is asked for first.
    return isWritten
  }

  /** The size to go by after an answer; throws what `Size.heed` throws. */
  async #heed(way: Way, { start, size: told }: OpenedSpan): Promise<number | undefined> {
    const { changes, confirmed, heedsClaims, patienceMs } = this.#options
    if (way.source.repository !== undefined) confirmed.add(way.source.repository)
    this.#answered.add(way)
    if (start > 0 && this.#isBroken) this.#resumes += 1
    this.#isBroken = false
    if (told !== undefined) this.#size.heed(told, way, this.partial?.present)
    else if (this.#size.bytes === undefined && heedsClaims) await askSize(way, patienceMs, this.#signal)
    changes.announce()
    return told ?? this.#size.bytes
  }
}
