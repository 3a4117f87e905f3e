import type { Expiring, OpenExpiring } from '../flow/expiring.ts'
import { isDigestReference, type Reference, type Tag } from '../oci/reference.ts'
import { originOf, type RepositoryKey } from '../storage/repository-key.ts'
import { UpstreamError, type UpstreamErrorCode } from '../upstream/error.ts'

export interface AnswersOptions {
  readonly expiring: OpenExpiring
  /** Milliseconds for which a tag is trusted (`cache.revalidate`). */
  readonly revalidateMs: number
  /** Milliseconds for which "there is no such thing" is remembered (`cache.negative`). */
  readonly negativeMs: number
}

/** Of tags that are fresh, and of refusals. */
const budget = { entries: 20_000, bytes: 8 * 1024 * 1024 }

/** An upstream's refusal, in the form that is kept. */
interface Refusal {
  readonly code: UpstreamErrorCode
  readonly message: string
}

/**
 * What upstreams said about a reference, and until when that is taken for true: that a tag is as we know it, or that
 * something is not there. Names that are made up fill the memory of refusals alone.
 */
export class Answers {
  readonly #options: AnswersOptions
  readonly #fresh: Expiring<true>
  readonly #refusals: Expiring<Refusal>

  constructor(options: AnswersOptions) {
    this.#options = options
    this.#fresh = options.expiring('fresh', budget)
    this.#refusals = options.expiring('refusals', budget)
  }

  /** Whether the upstream confirmed the tag recently enough. */
  async isFresh(repository: RepositoryKey, tag: Tag): Promise<boolean> {
    return (await this.#fresh.get(keyOf(repository, tag))) === true
  }

  /** The upstream just confirmed the tag. */
  async confirm(repository: RepositoryKey, tag: Tag): Promise<void> {
    await this.#fresh.set(keyOf(repository, tag), true, this.#options.revalidateMs)
  }

  /** Throws the refusal that the upstream gave to this question a moment ago, if it did. */
  async throwRefusal(repository: RepositoryKey, reference: Reference, method?: 'HEAD'): Promise<void> {
    const kept = await this.#refusals.get(keyOf(repository, reference, method))
    if (kept) throw new UpstreamError(kept.code, originOf(repository), kept.message)
  }

  /** What was said about a reference counts no more: its upstream is asked. */
  async forget(repository: RepositoryKey, reference: Reference): Promise<void> {
    if (!isDigestReference(reference)) await this.#fresh.delete(keyOf(repository, reference))
    for (const method of ['HEAD', undefined] as const)
      await this.#refusals.delete(keyOf(repository, reference, method))
  }

  /**
   * Remembers a refusal; other errors are passing and are not. `method`: one of HEAD counts for HEAD alone, since
   * storage may refuse one method and not the other.
   */
  async rememberRefusal(
    repository: RepositoryKey,
    reference: Reference,
    error: unknown,
    method?: 'HEAD',
  ): Promise<void> {
    if (!(error instanceof UpstreamError && error.isRefusal)) return
    const message = error.message.slice(`${error.upstream}: `.length)
    const refusal: Refusal = { code: error.code, message }
    await this.#refusals.set(keyOf(repository, reference, method), refusal, this.#options.negativeMs)
  }
}

function keyOf(repository: RepositoryKey, reference: Reference, method = 'any'): string {
  return `${method} ${repository} ${reference}`
}
