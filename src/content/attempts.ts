import type { Changes } from '../flow/changes.ts'
import { StorageError } from '../storage/error.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import { UpstreamError } from '../upstream/error.ts'
import { Attempt } from './attempt.ts'
import type { Crowd } from './crowd.ts'
import { besidePartialId, type FillOptions, partialId, partialIds } from './fill-options.ts'
import { isWrongBytes, leftFor, reportFill, reportWrong, told } from './fill-report.ts'
import { closePartial } from './partial-ends.ts'
import { Contradiction, Unsized } from './size.ts'
import type { Source } from './source.ts'
import type { Way, Ways } from './ways.ts'
import type { Wishes } from './wishes.ts'

/** Times that ways are left that were wrong for one that came later. */
const maximumBeginnings = 2

/** What a fill shares with its attempts. */
export interface AttemptsOptions {
  /** The way by which it begins. */
  readonly first: Source
  readonly ways: Ways
  readonly wishes: Wishes
  /** Those who wait for bytes, or read them. */
  readonly clients: Crowd
  readonly changes: Changes
  /** Whether somebody waits who reads nothing yet. */
  readonly isAwaited: () => boolean
  /** See `AttemptOptions`. */
  readonly onIdle: () => void
  readonly onUnkept: () => void
  /** There will be no other one: called before those who follow hear of its failure. */
  readonly onLast: () => void
  readonly signal: AbortSignal
}

/** The attempts of a fill, one after the other: where each one goes on, and whether after a failure another may do better. */
export class Attempts {
  /** Whose sources have answered. */
  readonly confirmed = new Set<RepositoryKey>()
  readonly #fill: FillOptions
  readonly #options: AttemptsOptions
  readonly #startedAt = performance.now()
  #current: Attempt | undefined
  /** Whether what was left of the blob is contradicted, so that it is begun beside that. */
  #isAnew: boolean
  #isUnstorable: boolean
  #wrongs = 0
  #beginnings = 0

  constructor(fill: FillOptions, options: AttemptsOptions) {
    this.#fill = fill
    this.#options = options
    this.#isUnstorable = !fill.disk.isWell
    this.#isAnew = fill.suspects.contradicts(fill.digest, options.first.repository)
  }

  /** The one that goes on, or the last one; undefined before the first, and where the next one is about to begin. */
  get current(): Attempt | undefined {
    return this.#current
  }

  /**
   * Resolves when the bytes are verified; `stored` where the disk has them, `handed` where nobody keeps them. Throws what the
   * last one failed with.
   */
  async run(): Promise<'stored' | 'handed'> {
    const { isStored, disk, counts } = this.#fill
    for (;;) {
      // Guards against this order: (1) A asks, and finds neither the blob nor a fill. (2) B's fill of it, begun
      // earlier, is sealed and leaves. (3) A starts this one. The same where a push was sealed since; not on a bad disk.
      if (disk.isWell && (await isStored().catch(() => false))) return 'stored'
      const attempt = this.#begin()
      try {
        await attempt.run()
        await this.#complete(attempt)
        return attempt.isWindow ? 'handed' : 'stored'
      } catch (error) {
        await this.#giveUp(attempt, error)
      } finally {
        counts.resumes += attempt.resumes
      }
    }
  }

  /** The first way that was never wrong has come: what others bring is not waited for. Not often: it may have nothing. */
  beginAgainBy(way: Way): void {
    const attempt = this.#current
    if (this.#beginnings === maximumBeginnings) return
    this.#beginnings += 1
    this.#options.ways.prefer(way)
    this.#current = undefined
    attempt?.abandon(leftFor(way, attempt))
  }

  #begin(): Attempt {
    const { digest, background = 'finishing', finishFrom } = this.#fill
    const { wishes, clients, changes } = this.#options
    const attempt = new Attempt({
      ...this.#fill,
      ...this.#options,
      partialId: this.#isAnew ? besidePartialId(digest) : partialId(digest),
      heedsClaims: this.#wrongs === 0,
      isStorable: () => !this.#isUnstorable,
      confirmed: this.confirmed,
      wants: () => wishes.wants,
      bringsAll: (share) => !wishes.isOfPart && (clients.isEmpty || share >= finishFrom),
      background: () => (wishes.hasBegun ? 'finishing' : background),
      since: this.#startedAt,
    })
    this.#current = attempt
    changes.announce()
    return attempt
  }

  async #complete(attempt: Attempt): Promise<void> {
    const { digest, store, suspects, publish, logger } = this.#fill
    for (const { source } of attempt.blameable) suspects.cleared(digest, source.repository)
    await attempt.publish(publish)
    if (attempt.isWindow) return
    const others = partialIds(digest).filter((id) => id !== attempt.partial?.id)
    await Promise.allSettled(others.map((id) => store.partials.remove(id)))
    reportFill(logger, digest, attempt, performance.now() - this.#startedAt)
  }

  /** Ends an attempt. Returns where another one may do better; throws the failure where there is nothing left to try. */
  async #giveUp(attempt: Attempt, error: unknown): Promise<void> {
    const { logger, digest, suspects } = this.#fill
    const { ways, isAwaited, onLast, signal } = this.#options
    const isWrong = isWrongBytes(error) || (error instanceof Contradiction && this.#isAnew)
    const isOfDisk = error instanceof StorageError && error.code !== 'BUSY'
    const { blameable, abandonedFor } = attempt
    if (isWrong) this.#blame(blameable, error as Error)
    const isHandedThrough = isOfDisk && !this.#isUnstorable && isAwaited()
    const isWorthAnother = !signal.aborted && (isHandedThrough || this.#mayDoBetter(attempt, error, isWrong))
    const failure = isWrong ? ways.lastFailure : told(abandonedFor ?? error)
    if (!isWorthAnother) onLast()
    if (error instanceof Contradiction) {
      this.#isAnew = true
      suspects.contradicted(digest, error.source.repository)
    }
    attempt.growing.fail(failure)
    await closePartial(attempt.partial, this.#fill, {
      keeps: !isWrong && !isOfDisk && !(error instanceof Unsized) && !abandonedFor,
      reason: failure,
    })
    if (!isWorthAnother) throw failure
    // (1) Bytes are handed through, and some let go. (2) Somebody comes, and a fill of its own takes the disk. (3) Another
    // attempt of this one finds that there is room.
    if (isOfDisk || attempt.isWindow) this.#isUnstorable = true
    if (isWrong) reportWrong(logger, digest, blameable[0], error)
  }

  #blame(blameable: readonly Way[], error: Error): void {
    const { digest, suspects } = this.#fill
    this.#wrongs += 1
    this.#options.ways.blameForBytes(blameable, error)
    const [only] = blameable
    if (only && blameable.length === 1) suspects.caught(digest, only.source.repository)
  }

  #mayDoBetter({ blameable, abandonedFor }: Attempt, error: unknown, isWrong: boolean): boolean {
    const { clients, ways } = this.#options
    if (isWrong) return (!clients.isEmpty || !ways.isSuspect) && blameable.length > 0 && ways.isOpen
    if (abandonedFor !== undefined || error instanceof Contradiction) return true
    // Where all ways have failed, one more may have come before that was heard here.
    return error instanceof UpstreamError && ways.isOpen
  }
}
