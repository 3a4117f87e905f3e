import type Keyv from 'keyv'
import type { Reference, Tag } from '../oci/reference.ts'
import type { RepositoryId } from '../storage/catalog.ts'
import { UpstreamError, type UpstreamErrorCode } from '../upstream/error.ts'

export interface FreshnessOptions {
  /** Holds what expires; where it fails, nothing is fresh. */
  readonly cache: Keyv
  /** Milliseconds for which a tag is trusted (`cache.revalidate`). */
  readonly revalidateMs: number
  /** Milliseconds for which "there is no such thing" is remembered (`cache.negative`). */
  readonly negativeMs: number
}

/** An upstream's refusal, in the form that is kept. */
interface Refusal {
  readonly code: UpstreamErrorCode
  readonly message: string
}

/**
 * Remembers for a while what an upstream said: that a tag is as we know it, or that something is not there. A
 * failure of the memory counts as "not remembered".
 */
export class Freshness {
  readonly #options: FreshnessOptions

  constructor(options: FreshnessOptions) {
    this.#options = options
  }

  /** Whether the upstream confirmed the tag recently enough. */
  async isFresh(repository: RepositoryId, tag: Tag): Promise<boolean> {
    return (await this.#get(keyOf('fresh', repository, tag))) === true
  }

  /** The upstream just confirmed the tag. */
  async confirm(repository: RepositoryId, tag: Tag): Promise<void> {
    await this.#set(keyOf('fresh', repository, tag), true, this.#options.revalidateMs)
  }

  /** Throws the refusal that the upstream gave to this question a moment ago, if it did. */
  async throwRemembered(repository: RepositoryId, reference: Reference, method?: 'HEAD'): Promise<void> {
    const kept = await this.#get(keyOf(refusedBy(method), repository, reference))
    if (!isRefusal(kept)) return
    throw new UpstreamError(kept.code, repository.upstream, kept.message)
  }

  /**
   * Remembers a refusal; other errors are passing and are not. `method`: one of HEAD counts for HEAD alone, since
   * storage may refuse one method and not the other.
   */
  async rememberRefusal(
    repository: RepositoryId,
    reference: Reference,
    error: unknown,
    method?: 'HEAD',
  ): Promise<void> {
    if (!(error instanceof UpstreamError && error.isRefusal)) return
    const message = error.message.slice(`${error.upstream}: `.length)
    const refusal: Refusal = { code: error.code, message }
    await this.#set(keyOf(refusedBy(method), repository, reference), refusal, this.#options.negativeMs)
  }

  async #get(key: string): Promise<unknown> {
    return this.#options.cache.get(key).catch(() => undefined)
  }

  async #set(key: string, value: unknown, lifetimeMs: number): Promise<void> {
    // Keyv takes 0 for "for ever"; here it means "not at all".
    if (lifetimeMs > 0) await this.#options.cache.set(key, value, lifetimeMs).catch(() => false)
  }
}

function refusedBy(method: 'HEAD' | undefined): string {
  return method === undefined ? 'refused' : `refused ${method}`
}

function keyOf(kind: string, { upstream, name }: RepositoryId, reference: string): string {
  return `${kind} ${upstream}/${name} ${reference}`
}

function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'code' in value && 'message' in value
}
