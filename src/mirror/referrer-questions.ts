import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { parseReferrers, referrersTag } from '../oci/referrers.ts'
import type { Catalog, RepositoryId } from '../storage/catalog.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { FoundReferrers } from '../upstream/referrer-pages.ts'
import type { Freshness } from './freshness.ts'
import { idOf, type Manifests, type MirroredRepository } from './manifests.ts'

export interface ReferrerQuestionsOptions {
  readonly catalog: Catalog
  /** Keeps the index that the tag of the schema points at, and checks whether it still does. */
  readonly manifests: Manifests
  readonly freshness: Freshness
}

/**
 * Why one of the questions found no list. missing: the upstream says so. withheld: it lets nobody read it. unreadable:
 * something answered that no registry says, such as a login page. unasked: the question was no use a while ago.
 */
export interface NoList {
  readonly none: 'missing' | 'withheld' | 'unreadable' | 'unasked'
  readonly reason: string
}

/** What one of the two questions came to. */
export type Found = FoundReferrers | NoList

const notImplemented = 501

/** The two questions for what refers to a manifest: the API, and the tag of the referrers tag schema. */
export class ReferrerQuestions {
  readonly #options: ReferrerQuestionsOptions

  constructor(options: ReferrerQuestionsOptions) {
    this.#options = options
  }

  /** By the API (distribution-spec end-12). Throws UpstreamError where the upstream says nothing about the content. */
  async askApi({ upstream, name }: MirroredRepository, subject: Digest, isHere: boolean): Promise<Found> {
    const { shortcuts } = upstream
    if (!shortcuts.isUseful('referrers-api'))
      return { none: 'unasked', reason: 'its API had no answer before' }
    try {
      const found = await upstream.referrers(name, subject)
      shortcuts.worked('referrers-api')
      return found
    } catch (error) {
      if (!(error instanceof UpstreamError) || isOutage(error) || !isAboutTheApi(error)) throw error
      const found = noList(error)
      if (found.none === 'missing') this.giveUpApi(upstream, isHere)
      return found
    }
  }

  /** Its answers are no use: the next question is the tag alone. Only of what is here is it sure that it says so. */
  giveUpApi({ shortcuts }: MirroredRepository['upstream'], isHere: boolean): void {
    if (isHere && !shortcuts.isProven('referrers-api')) shortcuts.failed('referrers-api')
  }

  /**
   * By the tag of the schema. A refusal is remembered for those who ask for the tag itself, as clients without the API
   * do. Throws UpstreamError where the upstream says nothing about the content.
   */
  async askTag(repository: MirroredRepository, subject: Digest): Promise<Found> {
    const { catalog, freshness, manifests } = this.#options
    const { upstream, name } = repository
    const id = idOf(repository)
    const tag = referrersTag(subject)
    try {
      await freshness.throwRemembered(id, tag)
      // Mostly there is no such tag. Where pulls are counted a HEAD tells so, which is free; elsewhere a GET does.
      const isCounted = upstream.rateLimit !== undefined && upstream.shortcuts.isUseful('manifest-head')
      const isKnown = (await catalog.tag(id, tag)) !== undefined
      if (isCounted && !isKnown) {
        await upstream.manifestDigest(name, tag).catch((error) => this.#throwRefusal(id, subject, error))
      }
      const { bytes, status } = await manifests.get(repository, tag)
      const incomplete = status === 'stale' ? `it does not answer for the tag ${tag}` : undefined
      return { referrers: parseReferrers(bytes), incomplete }
    } catch (error) {
      // Whatever else lies under this tag is no list of referrers.
      if (error instanceof RegistryError) return { referrers: [], incomplete: undefined }
      if (!(error instanceof UpstreamError) || isOutage(error)) throw error
      return noList(error)
    }
  }

  async #throwRefusal(id: RepositoryId, subject: Digest, error: unknown): Promise<void> {
    if (!(error instanceof UpstreamError && error.isRefusal)) return
    await this.#options.freshness.rememberRefusal(id, referrersTag(subject), error)
    throw error
  }
}

function noList(error: UpstreamError): NoList {
  const { message: reason } = error
  if (error.isElsewhere) return { none: 'unreadable', reason }
  if (error.code === 'UNAUTHORIZED' || error.code === 'FORBIDDEN') return { none: 'withheld', reason }
  const isMissing = error.code === 'NOT_FOUND' || (error.status ?? 0) >= 400
  return { none: isMissing ? 'missing' : 'unreadable', reason }
}

/** A server that does not know the question is none that is out of order. */
function isOutage(error: UpstreamError): boolean {
  return error.isOutage && error.status !== notImplemented
}

/** Whether the question itself was answered by something else than a list, rather than by one that is too long. */
function isAboutTheApi({ status, code, cause }: UpstreamError): boolean {
  return status !== undefined || code === 'REFUSED' || cause instanceof RegistryError
}
