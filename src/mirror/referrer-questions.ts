import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { Tag } from '../oci/reference.ts'
import { parseReferrers, referrersTag } from '../oci/referrers.ts'
import type { Catalog } from '../storage/catalog.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { Asking } from '../upstream/question.ts'
import type { FoundReferrers } from '../upstream/referrer-pages.ts'
import type { Answers } from './answers.ts'
import type { Evidence } from './evidence.ts'
import type { Manifests } from './manifests.ts'
import type { MirrorQuery, UpstreamRepository } from './upstream-repository.ts'

export interface ReferrerQuestionsOptions {
  readonly catalog: Catalog
  /** Keeps the index that the tag of the schema points at, and checks whether it still does. */
  readonly manifests: Manifests
  readonly answers: Answers
  readonly evidence: Evidence
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

/** The two questions for what refers to a manifest: the API, and the tag of the referrers tag schema. */
export class ReferrerQuestions {
  readonly #options: ReferrerQuestionsOptions

  constructor(options: ReferrerQuestionsOptions) {
    this.#options = options
  }

  /** By the API (distribution-spec end-12). Throws UpstreamError where the upstream says nothing about the content. */
  async askApi(
    { upstream, name }: UpstreamRepository,
    subject: Digest,
    { isHere, signal }: Asking & { readonly isHere: boolean },
  ): Promise<Found> {
    const { shortcuts } = upstream
    if (!shortcuts.isUseful('referrers-api'))
      return { none: 'unasked', reason: 'its API had no answer before' }
    try {
      const found = await upstream.referrers(name, subject, { signal })
      shortcuts.worked('referrers-api')
      return found
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.isOutage || !isAboutTheApi(error)) throw error
      const found = noList(error)
      if (found.none === 'missing') this.giveUpApi(upstream, isHere)
      return found
    }
  }

  /** Its answers are no use: the next question is the tag alone. Only of what is here is it sure that it says so. */
  giveUpApi({ shortcuts }: UpstreamRepository['upstream'], isHere: boolean): void {
    if (isHere && !shortcuts.isProven('referrers-api')) shortcuts.failed('referrers-api')
  }

  /**
   * By the tag of the schema. A refusal is remembered for those who ask for the tag itself, as clients without the API
   * do. Throws UpstreamError where the upstream says nothing about the content.
   */
  async askTag(repository: UpstreamRepository, subject: Digest, query: MirrorQuery): Promise<Found> {
    const { catalog, answers, manifests } = this.#options
    const { upstream, name, key } = repository
    const tag = referrersTag(subject)
    try {
      await answers.throwRefusal(key, tag)
      // Mostly there is no such tag. Where pulls are counted a HEAD tells so, which is free; elsewhere a GET does.
      const isCounted = upstream.rateLimit !== undefined && upstream.shortcuts.isUseful('manifest-head')
      const isKnown = (await catalog.tag(key, tag)) !== undefined
      if (isCounted && !isKnown) {
        const telling = upstream.manifestDigest(name, tag, query)
        await telling.catch((error) => this.#throwRefusal(repository, tag, error, query))
      }
      const { bytes, status } = await manifests.get(repository, tag, query)
      const incomplete = status === 'stale' ? `it does not answer for the tag ${tag}` : undefined
      return { referrers: parseReferrers(bytes), incomplete }
    } catch (error) {
      // Whatever else lies under this tag is no list of referrers.
      if (error instanceof RegistryError) return { referrers: [], incomplete: undefined }
      if (!(error instanceof UpstreamError) || error.isOutage) throw error
      return noList(error)
    }
  }

  async #throwRefusal(
    repository: UpstreamRepository,
    tag: Tag,
    error: unknown,
    asking: Asking,
  ): Promise<void> {
    if (!(error instanceof UpstreamError && error.isRefusal)) return
    await this.#options.answers.rememberRefusal(repository.key, tag, error)
    await this.#options.evidence.heard(repository, error, asking)
    throw error
  }
}

function noList(error: UpstreamError): NoList {
  const { message: reason } = error
  if (error.isElsewhere) return { none: 'unreadable', reason }
  if (error.isWithheld) return { none: 'withheld', reason }
  const isMissing = error.isMissing || (error.status ?? 0) >= 400
  return { none: isMissing ? 'missing' : 'unreadable', reason }
}

/** Whether the question itself was answered by something else than a list, rather than by one that is too long. */
function isAboutTheApi({ status, code, cause }: UpstreamError): boolean {
  return status !== undefined || code === 'REFUSED' || cause instanceof RegistryError
}
