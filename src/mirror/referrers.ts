import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import { within } from '../flow/abortable.ts'
import { bestEffort } from '../flow/best-effort.ts'
import type { Expiring, OpenExpiring } from '../flow/expiring.ts'
import { lruCache } from '../flow/lru-cache.ts'
import { tellSeldom } from '../flow/seldom.ts'
import type { Digest } from '../oci/digest.ts'
import { mergeReferrers, type Referrer } from '../oci/referrers.ts'
import type { Catalog, ReferrersRecord } from '../storage/catalog.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { Asking } from '../upstream/question.ts'
import {
  type Found,
  type NoList,
  ReferrerQuestions,
  type ReferrerQuestionsOptions,
} from './referrer-questions.ts'
import { type ReferrersHereOptions, referrersHere } from './referrers-here.ts'
import { SharedQuestions } from './shared-questions.ts'
import { unlessSilent } from './unless-silent.ts'
import type { AnswerStatus, MirrorQuery, UpstreamRepository } from './upstream-repository.ts'

export interface ReferrersOptions extends ReferrerQuestionsOptions, ReferrersHereOptions {
  readonly catalog: Catalog
  /** Opens the place of what is not worth one in the catalog. */
  readonly expiring: OpenExpiring
  /** Milliseconds for which a list is trusted (`cache.revalidate`). */
  readonly revalidateMs: number
  /** Milliseconds for which a refusal, or a list that is not whole, is remembered (`cache.negative`). */
  readonly negativeMs: number
  /** Milliseconds up to which a list is served while the upstream fails (`cache.serveStale`). */
  readonly serveStaleMs: number
  /** Milliseconds that a client waits for the upstream while a list is here (`cache.staleAfter`). */
  readonly staleAfterMs: number
  /** Milliseconds that a client waits where none is. */
  readonly patienceMs: number
  readonly logger: Logger
}

export interface MirroredReferrers {
  readonly referrers: readonly Referrer[]
  readonly status: AnswerStatus
  /** Milliseconds since the epoch at which the upstream last told; undefined where it never did. */
  readonly checkedAt: number | undefined
  /** Why there may be more of them than these, if so. */
  readonly doubt: string | undefined
}

type Answer = Omit<MirroredReferrers, 'status'>

type Outcome = PromiseSettledResult<Found>

/** What is known before the upstream is asked. */
interface Known {
  /** Whatever its age. */
  readonly kept: ReferrersRecord | undefined
  /** The same while it may be served. */
  readonly usable: ReferrersRecord | undefined
}

const nothingKnown = { referrers: [], checkedAt: undefined }
/** Of a list that is kept in memory. */
const maximumKeptReferrers = 500
const maximumKeptBytes = 256 * 1024
/** Of all lists of subjects that are not here. */
const notHereBytes = 16 * 1024 * 1024
/** Of answers that soon expire. */
const passingBudget = {
  entries: 10_000,
  bytes: 8 * 1024 * 1024,
  sizeOf: ({ referrers }: Answer) => sizeOf(referrers),
}
/** Subjects that the upstream would not let anyone ask about, of which that is remembered. */
const maximumWithheld = 10_000

/**
 * What refers to a manifest: signatures, attestations and the like (distribution-spec "Listing Referrers"). The
 * upstream is asked once, by its API and by the tag of the referrers tag schema, and its answer is kept as tags are,
 * also that there is nothing. There always is an answer: clients ask the registry itself after anything but a 200,
 * and wait for it where it is out of reach.
 */
export class Referrers {
  readonly #options: ReferrersOptions
  readonly #questions: ReferrerQuestions
  /** Lists of subjects that are not here: no more than memory is spent on them. */
  readonly #notHere = new LRUCache<string, ReferrersRecord>({
    maxSize: notHereBytes,
    maxEntrySize: maximumKeptBytes,
    sizeCalculation: ({ referrers }, key) => sizeOf(referrers) + key.length + 200,
  })
  /** Answers that are in doubt, and refusals. */
  readonly #passing: Expiring<Answer>
  readonly #shared = new SharedQuestions<Answer>()
  /** Where there is an account: what anyone was last refused, though it was shown to everybody before. */
  readonly #withheld = lruCache<string, true>(maximumWithheld)

  constructor(options: ReferrersOptions) {
    this.#options = options
    this.#passing = options.expiring('referrers', passingBudget)
    this.#questions = new ReferrerQuestions(options)
  }

  /**
   * Never fails because of the upstream: where it does not answer, what is known and what is here is the list. An
   * upstream that keeps a list of its own leaves out what it will; to others' answers what is here is added.
   */
  async list(
    repository: UpstreamRepository,
    subject: Digest,
    query: MirrorQuery,
  ): Promise<MirroredReferrers> {
    const told = await this.#told(repository, subject, query)
    const isWhole = told.doubt === undefined && repository.upstream.shortcuts.isProven('referrers-api')
    const key = keyOf(repository, subject)
    if (isWhole || !query.isGiven || !(await this.#isServable(repository, key))) return told
    const here = await referrersHere(this.#options, repository.key, subject)
    return { ...told, referrers: mergeReferrers(told.referrers, here) }
  }

  async #told(
    repository: UpstreamRepository,
    subject: Digest,
    query: MirrorQuery,
  ): Promise<MirroredReferrers> {
    const { catalog, revalidateMs, serveStaleMs, staleAfterMs, patienceMs, logger } = this.#options
    const key = keyOf(repository, subject)
    const { isGiven, signal, client } = query
    const passing = await this.#passing.get(key)
    if (passing && (isGiven || passing.referrers.length === 0))
      return { ...passing, status: passing.doubt === undefined ? 'hit' : 'stale' }
    const kept = this.#notHere.get(key) ?? (await catalog.referrers(repository.key, subject))
    const ageMs = kept && Date.now() - kept.checkedAt
    if (isGiven && kept && ageMs !== undefined && ageMs >= 0 && ageMs < revalidateMs) {
      return { ...kept, status: 'hit', doubt: undefined }
    }
    const usable = isGiven && ageMs !== undefined && ageMs <= serveStaleMs ? kept : undefined
    const isHere = (await this.#options.evidence.held(repository.key, subject)) !== undefined
    const isJoining = this.#shared.has(key)
    const ask = (asking: Asking) =>
      this.#ask(repository, subject, { kept, usable, isGiven, isHere, ...asking }, key)
    const kind = isHere ? 'referrers' : 'unknown referrers'
    try {
      // With a list to go on with, it is the mirror that wants to know: whoever leaves does not end it.
      const attended = usable ? undefined : signal
      const asking = this.#shared.ask(key, repository, ask, { kind, client, signal: attended })
      const answer = usable
        ? await unlessSilent(repository, asking, { forMs: staleAfterMs, signal })
        : await within(asking, patienceMs, signal)
      if (answer) return { ...answer, status: statusOf(answer, kept, isJoining) }
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      const { upstream, name } = repository
      const about = { upstream: upstream.name, repository: name, digest: subject, reason: error.message }
      logger.info(about, 'upstream failed: answering with the referrers that are known')
    }
    const doubt = 'the upstream does not answer'
    return usable && (await this.#isServable(repository, key))
      ? { ...usable, status: 'stale', doubt }
      : { ...nothingKnown, status: 'miss', doubt }
  }

  /** What the catalog was told to forget is not remembered here either. */
  async forget(repository: RepositoryKey, subject: Digest): Promise<void> {
    this.#notHere.delete(`${repository} ${subject}`)
    await this.#passing.delete(`${repository} ${subject}`)
  }

  /** Asks both ways at once: on a line with a long round trip one after the other is felt. */
  async #ask(
    repository: UpstreamRepository,
    subject: Digest,
    { kept, usable, isGiven, isHere, ...asking }: Known & MirrorQuery & { readonly isHere: boolean },
    key: string,
  ): Promise<Answer> {
    const heed = (found: Found) => this.#heed(repository, key, found)
    const [api, tag] = await Promise.allSettled([
      this.#questions.askApi(repository, subject, { isHere, ...asking }).then(heed),
      this.#questions.askTag(repository, subject, { isGiven, ...asking }).then(heed),
    ])
    // What was given up half-way is no answer.
    asking.signal?.throwIfAborted()
    if (api.status === 'rejected' && tag.status === 'rejected') throw api.reason
    const found = mergeReferrers(foundBy(api), foundBy(tag))
    const doubt = doubtOf(api) ?? doubtOf(tag) ?? lossOf(api, tag, found, kept)
    if (doubt === undefined && isUnreadable(api)) this.#questions.giveUpApi(repository.upstream, isHere)
    if (doubt === undefined && ![api, tag].some(isWithheld)) this.#withheld.delete(key)
    // While something is in doubt, what is known stays, and is no younger for it.
    const isStaying = doubt !== undefined && (await this.#isServable(repository, key))
    const staying = isStaying ? usable : undefined
    const askedAt = doubt === undefined || found.length > 0 ? Date.now() : undefined
    const answer: Answer = {
      referrers: staying ? mergeReferrers(found, staying.referrers) : found,
      checkedAt: staying ? staying.checkedAt : askedAt,
      doubt,
    }
    const isRefused = [api, tag].every((one) => one.status === 'fulfilled' && 'none' in one.value)
    await this.#keep(repository.key, subject, key, answer, { kept, isRefused, isHere })
    return answer
  }

  /** Whether what is known may be served without the upstream's word: not once it refused the list, or the repository. */
  async #isServable(repository: UpstreamRepository, key: string): Promise<boolean> {
    return !this.#withheld.has(key) && (await this.#options.evidence.refusedSince(repository)) === undefined
  }

  /** What is shown to nobody any more is not served from here either, whatever comes of the other question. */
  #heed({ upstream }: UpstreamRepository, key: string, found: Found): Found {
    if (upstream.hasAccount && 'none' in found && found.none === 'withheld') this.#withheld.set(key, true)
    return found
  }

  /**
   * Whoever makes up names must neither fill the disk nor make the API look useless for all: only of what is here is
   * it sure that the upstream has it. And a refusal never displaces what the upstream told before.
   */
  async #keep(
    repository: RepositoryKey,
    subject: Digest,
    key: string,
    answer: Answer,
    { kept, isRefused, isHere }: { kept: ReferrersRecord | undefined; isRefused: boolean; isHere: boolean },
  ): Promise<void> {
    const { catalog, logger, revalidateMs, negativeMs } = this.#options
    const { referrers, checkedAt, doubt } = answer
    const isPassing = doubt !== undefined || (isRefused && (!isHere || !!kept?.referrers.length))
    const remember = async (lifetimeMs: number) => {
      if (sizeOf(referrers) <= maximumKeptBytes) await this.#passing.set(key, answer, lifetimeMs)
    }
    if (isPassing) return remember(negativeMs)
    const record = { referrers, checkedAt: checkedAt ?? Date.now() }
    if (!isHere) return void this.#notHere.set(key, record)
    this.#notHere.delete(key)
    await bestEffort(catalog.saveReferrers(repository, subject, record), async (error) => {
      tellSeldom(logger, 'error', { err: error }, 'the catalog could not be written: answering all the same')
      await remember(revalidateMs)
    })
  }
}

function foundBy(outcome: Outcome): readonly Referrer[] {
  return outcome.status === 'fulfilled' && 'referrers' in outcome.value ? outcome.value.referrers : []
}

function doubtOf(outcome: Outcome): string | undefined {
  if (outcome.status === 'fulfilled') return 'none' in outcome.value ? undefined : outcome.value.incomplete
  return outcome.reason instanceof Error ? outcome.reason.message : String(outcome.reason)
}

/**
 * Why what was found may not be all, though both questions came to something. What no registry says, such as a login
 * page, tells nothing of the list: it makes nothing forgotten, and alone it is not even an empty list.
 */
function lossOf(
  api: Outcome,
  tag: Outcome,
  found: readonly Referrer[],
  kept: ReferrersRecord | undefined,
): string | undefined {
  const digests = new Set(found.map(({ digest }) => digest))
  const isLosing = kept?.referrers.some(({ digest }) => !digests.has(digest)) === true
  if (isUnreadable(tag) && (isLosing || noneOf(api))) return noneOf(tag)?.reason
  if (isLosing && isUnreadable(api)) return noneOf(api)?.reason
  const isUntold = noneOf(api)?.none === 'unasked' && noneOf(tag)?.none === 'missing'
  return isLosing && isUntold ? noneOf(api)?.reason : undefined
}

function noneOf(outcome: Outcome): NoList | undefined {
  return outcome.status === 'fulfilled' && 'none' in outcome.value ? outcome.value : undefined
}

function isUnreadable(outcome: Outcome): boolean {
  return noneOf(outcome)?.none === 'unreadable'
}

function isWithheld(outcome: Outcome): boolean {
  return noneOf(outcome)?.none === 'withheld'
}

function statusOf(answer: Answer, kept: ReferrersRecord | undefined, isJoining: boolean): AnswerStatus {
  if (kept && answer.doubt !== undefined) return 'stale'
  if (kept && JSON.stringify(kept.referrers) === JSON.stringify(answer.referrers)) return 'revalidated'
  return isJoining ? 'joined' : 'miss'
}

function keyOf({ key }: UpstreamRepository, subject: Digest): string {
  return `${key} ${subject}`
}

/** In memory, in bytes; more than is kept where there are too many of them to be measured. */
function sizeOf(referrers: readonly Referrer[]): number {
  if (referrers.length > maximumKeptReferrers) return 2 * maximumKeptBytes
  return 2 * JSON.stringify(referrers).length
}
