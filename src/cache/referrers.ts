import type Keyv from 'keyv'
import type { Logger } from 'pino'
import { delay } from '../flow/abortable.ts'
import { bestEffort } from '../flow/best-effort.ts'
import { SingleFlight } from '../flow/single-flight.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { mergeReferrers, parseReferrers, type Referrer, referrersTag } from '../oci/referrers.ts'
import type { Catalog, ReferrersRecord, RepositoryId } from '../storage/catalog.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { FoundReferrers } from '../upstream/referrer-pages.ts'
import type { Freshness } from './freshness.ts'
import { type CacheStatus, idOf, type Manifests, type MirroredRepository } from './manifests.ts'

export interface ReferrersOptions {
  readonly catalog: Catalog
  /** Keeps the index that the tag of the schema points at, and checks whether it still does. */
  readonly manifests: Manifests
  /** Holds what is not worth a place in the catalog. */
  readonly cache: Keyv
  readonly freshness: Freshness
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

export interface ServedReferrers {
  readonly referrers: readonly Referrer[]
  readonly status: CacheStatus
  /** Milliseconds since the epoch at which the upstream last told; undefined where it never did. */
  readonly checkedAt: number | undefined
  /** Why there may be more of them than these, if so. */
  readonly doubt: string | undefined
}

type Answer = ReferrersRecord & Pick<ServedReferrers, 'doubt'>

/** What one of the two questions found; undefined where the upstream refuses it, or knows no such question. */
type Found = FoundReferrers | undefined

const nothingKnown = { referrers: [], checkedAt: undefined }
/** Of a list that is kept in memory. */
const maximumKeptReferrers = 500
const notImplemented = 501

/**
 * What refers to a manifest: signatures, attestations and the like (distribution-spec "Listing Referrers"). The
 * upstream is asked once, by its API and by the tag of the referrers tag schema, and its answer is kept as tags are,
 * also that there is nothing. There always is an answer: clients ask the registry itself after anything but a 200,
 * and wait for it where it is out of reach.
 */
export class Referrers {
  readonly #options: ReferrersOptions
  readonly #asking = new SingleFlight<string, Answer>()

  constructor(options: ReferrersOptions) {
    this.#options = options
  }

  /** Never fails because of the upstream: where nothing is known and it does not answer, the list is empty. */
  async list(repository: MirroredRepository, subject: Digest): Promise<ServedReferrers> {
    const { catalog, cache, revalidateMs, serveStaleMs, staleAfterMs, patienceMs, logger } = this.#options
    const key = keyOf(repository, subject)
    const passing = await cache.get<Answer>(key).catch(() => undefined)
    if (passing) return { ...passing, status: passing.doubt === undefined ? 'hit' : 'stale' }
    const kept = await catalog.referrers(idOf(repository), subject)
    const ageMs = kept && Date.now() - kept.checkedAt
    if (kept && ageMs !== undefined && ageMs >= 0 && ageMs < revalidateMs) {
      return { ...kept, status: 'hit', doubt: undefined }
    }
    const usable = ageMs !== undefined && ageMs <= serveStaleMs ? kept : undefined
    const isJoining = this.#asking.has(key)
    const late = delay(usable ? staleAfterMs : patienceMs).then(() => undefined)
    try {
      const answer = await Promise.race([
        this.#asking.run(key, () => this.#ask(repository, subject, kept, key)),
        late,
      ])
      if (answer) return { ...answer, status: statusOf(answer, kept, isJoining) }
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      const { upstream, name } = repository
      const about = { repository: `${upstream.name}/${name}`, subject, reason: error.message }
      logger.info(about, 'upstream failed: answering with the referrers that are known')
    }
    const doubt = 'the upstream does not answer'
    return usable ? { ...usable, status: 'stale', doubt } : { ...nothingKnown, status: 'miss', doubt }
  }

  /** Asks both ways at once: on a line with a long round trip one after the other is felt. */
  async #ask(
    repository: MirroredRepository,
    subject: Digest,
    kept: ReferrersRecord | undefined,
    key: string,
  ): Promise<Answer> {
    const id = idOf(repository)
    const isHere = (await this.#options.catalog.manifest(id, subject)) !== undefined
    const [api, tag] = await Promise.allSettled([
      this.#askApi(repository, subject, isHere),
      this.#askTag(repository, subject),
    ])
    if (api.status === 'rejected' && tag.status === 'rejected') throw api.reason
    const doubt = doubtOf(api) ?? doubtOf(tag)
    const answer: Answer = {
      // While something is in doubt, what is known stays.
      referrers: mergeReferrers(
        foundBy(api),
        foundBy(tag),
        doubt === undefined ? [] : (kept?.referrers ?? []),
      ),
      checkedAt: Date.now(),
      doubt,
    }
    const isRefused = [api, tag].every((one) => one.status === 'fulfilled' && !one.value)
    await this.#keep(id, subject, key, answer, { kept, isRefused, isHere })
    return answer
  }

  /**
   * Whoever makes up names must neither fill the disk nor make the API look useless for all: only of what is here is
   * it sure that the upstream has it. And a refusal never displaces what the upstream told before.
   */
  async #keep(
    id: RepositoryId,
    subject: Digest,
    key: string,
    answer: Answer,
    { kept, isRefused, isHere }: { kept: ReferrersRecord | undefined; isRefused: boolean; isHere: boolean },
  ): Promise<void> {
    const { catalog, cache, logger, revalidateMs, negativeMs } = this.#options
    const { referrers, checkedAt, doubt } = answer
    const isPassing = doubt !== undefined || (isRefused && (!isHere || !!kept?.referrers.length))
    const remember = async (lifetimeMs: number) => {
      if (lifetimeMs <= 0 || referrers.length > maximumKeptReferrers) return
      await cache.set(key, answer, lifetimeMs).catch(() => false)
    }
    if (isPassing) return remember(negativeMs)
    if (referrers.length === 0 && !isHere && !kept) return remember(revalidateMs)
    await bestEffort(catalog.saveReferrers(id, subject, { referrers, checkedAt }), async (error) => {
      logger.error({ err: error }, 'the catalog could not be written: answering all the same')
      await remember(revalidateMs)
    })
  }

  async #askApi({ upstream, name }: MirroredRepository, subject: Digest, isHere: boolean): Promise<Found> {
    const { shortcuts } = upstream
    if (!shortcuts.isUseful('referrers-api')) return undefined
    try {
      const found = await upstream.referrers(name, subject)
      shortcuts.worked('referrers-api')
      return found
    } catch (error) {
      if (!(error instanceof UpstreamError) || isOutage(error) || !isAboutTheApi(error)) throw error
      const isAboutUs = error.code === 'UNAUTHORIZED' || error.code === 'FORBIDDEN'
      if (isHere && !isAboutUs && !shortcuts.isProven('referrers-api')) shortcuts.failed('referrers-api')
      return undefined
    }
  }

  /** A refusal is remembered for those who ask for the tag itself, as clients without the API do. */
  async #askTag(repository: MirroredRepository, subject: Digest): Promise<Found> {
    const { catalog, freshness, manifests } = this.#options
    const { upstream, name } = repository
    const id = idOf(repository)
    const tag = referrersTag(subject)
    if (await freshness.isRefused(id, tag)) return undefined
    try {
      // Mostly there is no such tag. Where pulls are counted a HEAD tells so, which is free; elsewhere a GET does.
      const isCounted = upstream.rateLimit !== undefined && upstream.shortcuts.isUseful('manifest-head')
      const isKnown = (await catalog.tag(id, tag)) !== undefined
      if (isCounted && !isKnown) await upstream.manifestDigest(name, tag).catch(throwRefusal)
      const { bytes, status } = await manifests.get(repository, tag)
      const incomplete = status === 'stale' ? `it does not answer for the tag ${tag}` : undefined
      return { referrers: parseReferrers(bytes), incomplete }
    } catch (error) {
      // Whatever else lies under this tag is no list of referrers.
      if (error instanceof RegistryError) return { referrers: [], incomplete: undefined }
      if (!(error instanceof UpstreamError) || isOutage(error)) throw error
      await freshness.rememberRefusal(id, tag, error)
      return error.isRefusal ? undefined : { referrers: [], incomplete: undefined }
    }
  }
}

/** A server that does not know the question is none that is out of order. */
function isOutage(error: UpstreamError): boolean {
  return error.isOutage && error.status !== notImplemented
}

/** Whether the question itself was answered by something else than a list, rather than by one that is too long. */
function isAboutTheApi({ status, code, cause }: UpstreamError): boolean {
  return status !== undefined || code === 'REFUSED' || cause instanceof RegistryError
}

function throwRefusal(error: unknown): void {
  if (error instanceof UpstreamError && error.isRefusal) throw error
}

function foundBy(outcome: PromiseSettledResult<Found>): readonly Referrer[] {
  return (outcome.status === 'fulfilled' && outcome.value?.referrers) || []
}

function doubtOf(outcome: PromiseSettledResult<Found>): string | undefined {
  if (outcome.status === 'fulfilled') return outcome.value?.incomplete
  return outcome.reason instanceof Error ? outcome.reason.message : String(outcome.reason)
}

function statusOf(answer: Answer, kept: ReferrersRecord | undefined, isJoining: boolean): CacheStatus {
  if (kept && answer.doubt !== undefined) return 'stale'
  if (kept && JSON.stringify(kept.referrers) === JSON.stringify(answer.referrers)) return 'revalidated'
  return isJoining ? 'joined' : 'miss'
}

function keyOf({ upstream, name }: MirroredRepository, subject: Digest): string {
  return `referrers ${upstream.name}/${name} ${subject}`
}
