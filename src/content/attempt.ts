import { abortable } from '../flow/abortable.ts'
import type { LentBytes } from '../flow/lent-bytes.ts'
import type { TokenBucket } from '../flow/token-bucket.ts'
import { isDigestOfNothing } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { Partial } from '../storage/partial.ts'
import type { ByteInterval } from '../storage/ranges.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import { UpstreamError } from '../upstream/error.ts'
import { Download } from './download.ts'
import type { Background } from './fill-options.ts'
import { Growing } from './growing.ts'
import { Landing, type LandingOptions } from './landing.ts'
import { isWhole } from './partial-ends.ts'
import { Contradiction, Doubt, Size, Unsized } from './size.ts'
import type { OpenedSpan } from './source.ts'
import { type Way, type Ways, wasWrong } from './ways.ts'

export interface AttemptOptions extends LandingOptions {
  readonly ways: Ways
  /** Whether sizes that descriptors claim are gone by until a source tells; not after they led to wrong bytes. */
  readonly heedsClaims: boolean
  /** Whose sources have answered. */
  readonly confirmed: Set<RepositoryKey>
  /** Those who wait for the blob. */
  readonly clients: Iterable<string>
  /** For what it is while nobody waits. */
  readonly background: () => Background
  readonly rate: TokenBucket | undefined
  /** Milliseconds without a byte after which a way is left for a better one. */
  readonly slowMs: number
  /** Milliseconds for which a source is asked for the size, while its bytes wait. */
  readonly patienceMs: number
  readonly since: number
  readonly signal: AbortSignal
}

/** Bytes of a blob whose size nobody tells; an endless one must end somewhere. */
const maximumUnknownSize = 64 * 1024 ** 3
/** Bytes of such a blob that nobody has to wait for, before it may go on for ever. */
const endlessFrom = 16 * 1024 * 1024

/** One attempt to have all bytes of a blob in one partial, by whichever ways: the same one that earlier attempts left. */
export class Attempt {
  readonly growing = new Growing({ isDoubtful: () => this.blameable.some(wasWrong) })
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
  #underWay: { download: Download; way: Way } | undefined

  constructor(options: AttemptOptions) {
    this.#options = options
    this.#signal = AbortSignal.any([options.signal, this.#abandoned.signal])
    this.#size = new Size(options.ways, options.heedsClaims ? options.ways.claim : undefined)
    const size = () => this.#size.bytes ?? this.#verified ?? this.#likelySize
    this.#landing = new Landing(options, { growing: this.growing, size, signal: this.#signal })
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
    // A process may have ended just before it sealed: the hash says so, nobody's size does.
    if (this.#keptBytes > 0 && kept && (await this.#isWhole(kept))) return
    this.#size.refuteBy(this.partial?.present, digest)
    for (;;) {
      const ending = await this.#bring()
      if (!this.partial && !isDigestOfNothing(digest)) {
        throw new RegistryError('DIGEST_INVALID', `expected ${digest}, there are no bytes`)
      }
      const partial = this.partial ?? (await this.#landing.begin())
      try {
        await partial.verify(digest)
        this.#verified = this.#present
        return
      } catch (error) {
        if (ending === 'nothing behind' && error instanceof RegistryError) throw new Contradiction(error)
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

  /** Leaves the way that is taken, where nothing has come by it for too long and another one promises more. */
  leaveIfSlow(): void {
    const { slowMs, ways } = this.#options
    if (!this.#underWay) return
    const { download, way } = this.#underWay
    if (
      download.isLeft ||
      download.silentMs < slowMs ||
      !ways.hasBetterThan(way, { elsewhere: download.isQueued })
    )
      return
    way.doubts += 1
    download.leave()
  }

  /** Leaves the way that is taken for a better one. */
  leave(): void {
    this.#underWay?.download.leave()
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

  /** By one way after the other, one connection at a time, until nothing is missing. */
  async #bring(): Promise<'whole' | 'nothing behind'> {
    const { ways, changes } = this.#options
    const signal = this.#signal
    while (this.#gap()) {
      // Before there is a place on the line again: who has one brings bytes, or lets others do.
      await abortable(this.#landing.pause(), signal)
      const gap = this.#gap()
      if (!gap) break
      const way = await ways.next(changes, signal)
      const before = this.#present
      try {
        const ending = await this.#take(way, gap)
        way.failures = 0
        if (ending === 'end') return 'whole'
      } catch (error) {
        if (signal.aborted || error instanceof RegistryError) throw error
        if (this.#isAtEnd(error, gap)) return 'nothing behind'
        if (error instanceof Doubt) ways.doubt(way)
        else if (error instanceof Unsized) ways.giveUp(way, error)
        else if (error instanceof UpstreamError) ways.blame(way, error, this.#present - before)
        else throw error
      } finally {
        this.#underWay = undefined
      }
    }
    return 'whole'
  }

  async #take(way: Way, gap: ByteInterval): Promise<'end' | undefined> {
    const { rate, clients, background, since } = this.#options
    const isHole = gap.end < (this.#size.bytes ?? maximumUnknownSize)
    const restingMs = (): number => this.growing.fullMs
    const write = async (position: number, lent: LentBytes, left: AbortSignal): Promise<void> => {
      this.#brought.add(way)
      const isFirst = !this.hasBytes
      if (!this.partial) await this.#landing.begin()
      if (this.isEndless) this.#options.onUnkept()
      // What is missing before them is asked for first.
      if (!(await this.#landing.write(position, lent, { upstream: way.source.name, left }))) download.leave()
      if (isFirst) this.#options.changes.announce()
    }
    const about = { way, gap, isHole, since, rate, clients, background, restingMs, signal: this.#signal }
    const download = new Download({ ...about, onAnswer: (span) => this.#heed(way, span), write })
    this.#underWay = { download, way }
    return download.run()
  }

  /** The size to go by after an answer; throws what `Size.heed` throws. */
  async #heed(way: Way, { start, size: told }: OpenedSpan): Promise<number | undefined> {
    const { changes, confirmed } = this.#options
    if (way.source.repository !== undefined) confirmed.add(way.source.repository)
    this.#answered.add(way)
    if (start > 0) this.#resumes += 1
    if (told === undefined && this.#size.bytes === undefined) await this.#askSize(way)
    if (told === undefined) return this.#size.bytes
    this.#size.heed(told, way, this.partial?.present)
    changes.announce()
    return told
  }

  /** Clients have the bytes of a blob as they come, and where there is no room at all, if they can be told how many it has. */
  async #askSize(way: Way): Promise<void> {
    if (!this.#options.heedsClaims || way.asked || !way.source.size) return
    way.asked = { size: undefined }
    const signal = AbortSignal.any([this.#signal, AbortSignal.timeout(this.#options.patienceMs)])
    const size = await abortable(way.source.size({ signal }), signal).catch((error: unknown) => {
      this.#signal.throwIfAborted()
      if (error instanceof UpstreamError || signal.aborted) return undefined
      throw error
    })
    way.asked = { size }
    this.#options.changes.announce()
  }

  /** The next bytes to ask for. */
  #gap(): ByteInterval | undefined {
    const size = this.#size.bytes ?? maximumUnknownSize
    if (!this.partial) return size === 0 ? undefined : { start: 0, end: size }
    return this.partial.present.firstGap(size)
  }

  /** It says that there is nothing behind, and never told how much there is. */
  #isAtEnd(error: unknown, gap: ByteInterval): boolean {
    const isRefused = error instanceof UpstreamError && error.status === 416
    return isRefused && gap.start > 0 && this.#size.told === undefined
  }
}
