import type { Expiring, OpenExpiring } from '../flow/expiring.ts'
import { lruCache } from '../flow/lru-cache.ts'
import { type PageQuery, withPageSize } from '../oci/page-query.ts'
import type { Tag } from '../oci/reference.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import type { Catalog } from '../storage/catalog.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { Asking } from '../upstream/question.ts'
import type { RegistryClient, TagPage } from '../upstream/registry-client.ts'
import { SharedQuestions } from './shared-questions.ts'
import { unlessSilent } from './unless-silent.ts'
import type { AnswerStatus, MirrorQuery, UpstreamRepository } from './upstream-repository.ts'

export interface TagListsOptions {
  readonly catalog: Catalog
  readonly expiring: OpenExpiring
  /** Milliseconds for which a list is trusted (`cache.revalidate`). */
  readonly revalidateMs: number
  /** Milliseconds for which a list is served while the upstream fails (`cache.serveStale`). */
  readonly serveStaleMs: number
}

export interface MirroredTagPage extends TagPage {
  readonly status: AnswerStatus
}

interface KeptPage extends TagPage {
  /** Milliseconds of `performance.now`: it lives no longer than this process, and no clock that is set changes its age. */
  readonly fetchedAt: number
}

/** Bytes: `sizeOf` counts two for each character. */
const budget = {
  entries: 10_000,
  bytes: 16 * 1024 * 1024,
  sizeOf: ({ tags, next = '' }: KeptPage) => 2 * (tags.join().length + next.length) + 40 * tags.length,
}
/** Tags of one list that are kept. */
const maximumKeptTags = 5000
/** Repositories of which it is known that their lists were to be forgotten. */
const maximumForgotten = 10_000
/** The size of page that is asked for where the upstream finds the client's too large; none has a lower limit. */
const modestPageSize = 100

/** The lists of tags of mirrored repositories, passed through from the upstream and kept for a while. */
export class TagLists {
  readonly #options: TagListsOptions
  readonly #kept: Expiring<KeptPage>
  readonly #questions = new SharedQuestions<KeptPage>()
  /** When a repository's lists were last to be forgotten, likewise in milliseconds. */
  readonly #forgottenAt = lruCache<RepositoryKey, number>(maximumForgotten)

  constructor(options: TagListsOptions) {
    this.#options = options
    this.#kept = options.expiring('tag-lists', budget)
  }

  /**
   * A page as the upstream has it. While the upstream fails: what was kept of it, else the tags that are cached
   * here, if there are any. Throws UpstreamError otherwise.
   */
  async list(
    repository: UpstreamRepository,
    page: PageQuery,
    { isGiven, signal, client }: MirrorQuery,
  ): Promise<MirroredTagPage> {
    const key = `${repository.key} ${page.text}`
    const found = isGiven ? await this.#kept.get(key) : undefined
    const isForgotten = (found?.fetchedAt ?? 0) <= (this.#forgottenAt.get(repository.key) ?? -1)
    const kept = isForgotten ? undefined : found
    if (kept && performance.now() - kept.fetchedAt < this.#options.revalidateMs)
      return { ...kept, status: 'hit' }
    const copy = kept ?? (isGiven ? await this.#cachedPage(repository, page) : undefined)
    const stale = copy && { ...copy, status: 'stale' as const }
    if (stale && repository.upstream.isSilent) return stale
    const ask = (asking: Asking) => this.#fetch(repository, page, key, asking)
    const asking = this.#questions.ask(key, repository, ask, { signal, client })
    if (!stale) return { ...(await asking), status: 'miss' }
    try {
      const fetched = await unlessSilent(repository, asking, { signal })
      return fetched ? { ...fetched, status: 'miss' } : stale
    } catch (error) {
      if (error instanceof UpstreamError && error.isOutage) return stale
      throw error
    }
  }

  /** The upstream is asked for each of its pages. */
  forget(repository: RepositoryKey): void {
    this.#forgottenAt.set(repository, performance.now())
  }

  async #fetch(
    { upstream, name }: UpstreamRepository,
    page: PageQuery,
    key: string,
    asking: Asking,
  ): Promise<KeptPage> {
    const fetched = await askTags(upstream, name, page, asking)
    const kept = { ...fetched, fetchedAt: performance.now() }
    // Whoever makes up values of `last` gets as many lists; long ones are not worth the memory.
    if (kept.tags.length > maximumKeptTags) return kept
    await this.#kept.set(key, kept, this.#options.serveStaleMs)
    return kept
  }

  async #cachedPage(
    { key }: UpstreamRepository,
    { n, last, isForeign }: PageQuery,
  ): Promise<TagPage | undefined> {
    // Where the upstream's own mark begins only the upstream knows; the first page again would be a circle.
    if (isForeign && last === undefined) return undefined
    const { catalog } = this.#options
    if ((await catalog.tags(key, { limit: 1 })).length === 0) return undefined
    const after = last as Tag | undefined
    const found = await catalog.tags(key, n === undefined ? { after } : { after, limit: n + 1 })
    const tags = found.slice(0, n)
    const end = tags.length < found.length ? tags.at(-1) : undefined
    const next = end === undefined ? undefined : new URLSearchParams({ n: String(n), last: end }).toString()
    return { tags, next }
  }
}

/** Some registries refuse a page that is larger than they like instead of sending a smaller one. */
async function askTags(
  upstream: RegistryClient,
  name: RepositoryName,
  page: PageQuery,
  asking: Asking,
): Promise<TagPage> {
  try {
    return await upstream.tags(name, page.text, asking)
  } catch (error) {
    const isTooLarge =
      error instanceof UpstreamError && error.status === 400 && (page.n ?? 0) > modestPageSize
    if (!isTooLarge) throw error
    return upstream.tags(name, withPageSize(page.text, modestPageSize), asking)
  }
}
