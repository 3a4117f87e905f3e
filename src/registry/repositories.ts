import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { isRepositoryName } from '../oci/repository-name.ts'
import { localOrigin, type RepositoryKey, repositoryKey } from '../storage/repository-key.ts'
import type { RegistryClient } from '../upstream/registry-client.ts'
import type { LocalRepositories } from './local-repositories.ts'
import type { Mirror } from './mirror.ts'
import { MirroredRepository } from './mirrored-repository.ts'
import type { AskOptions, Repository } from './repository.ts'
import type { RepositoryLists, RepositoryPage, WantedRepositories } from './repository-lists.ts'
import { type Asked, type AskedOfAll, type Route, Router, withoutVersion } from './router.ts'
import type { Search, SearchResult } from './search.ts'

/** All repositories that a request can mean. */
export class Repositories {
  readonly #mirror: Mirror
  readonly #local: LocalRepositories
  readonly #lists: RepositoryLists
  readonly #search: Search
  readonly #router: Router<RegistryClient>

  /** The first upstream answers requests that name none. Throws TypeError where there is none. */
  constructor(
    mirror: Mirror,
    local: LocalRepositories,
    lists: RepositoryLists,
    search: Search,
    upstreams: readonly RegistryClient[],
  ) {
    this.#mirror = mirror
    this.#local = local
    this.#lists = lists
    this.#search = search
    this.#router = new Router(upstreams)
  }

  /** The upstreams, as configured. */
  get upstreams(): readonly RegistryClient[] {
    return this.#router.upstreams
  }

  /** The names that can be pushed, as patterns. */
  get pushable(): readonly string[] {
    return this.#local.patterns
  }

  /** Whether an upstream goes by `name`. */
  serves(name: string): boolean {
    return this.#router.serves(name)
  }

  /**
   * `isPushing`: it is part of a push. `mayPush`: whoever asks may push, and may be about to. `digest`: what is wanted
   * of it, where that is known. Throws RegistryError as `Router.route` does. That there is a repository of this name it
   * does not say.
   */
  async find(
    asked: Asked & {
      readonly isPushing: boolean
      readonly mayPush: boolean
      readonly digest: Digest | undefined
    },
  ): Promise<Repository> {
    const asName = withoutVersion(asked.name)
    const { upstream, name } = await this.#route(asked, asName, asked)
    if (!upstream) return this.#local.at(name)
    // Whoever pushes may begin by any question: crane asks for the tag before it sends anything.
    const isPushable = asked.mayPush && isRepositoryName(asName) && this.#local.isPushable(asName)
    return new MirroredRepository(this.#mirror, upstream, name, { isPushable })
  }

  /** Which repository a name means, as whoever pulls `digest` by it; undefined for what can be none. */
  async keyOf(name: string, digest: Digest): Promise<RepositoryKey | undefined> {
    const asName = withoutVersion(name)
    try {
      const route = await this.#route({ name: asName }, asName, { isPushing: false, digest })
      return repositoryKey(route.upstream?.name ?? localOrigin, route.name)
    } catch (error) {
      if (error instanceof RegistryError) return undefined
      throw error
    }
  }

  /** Rejects where it cannot be told whether the name is local, unless the request names an upstream: none may hear it. */
  async #route(
    asked: Asked,
    name: string,
    wanted: { readonly isPushing: boolean; readonly digest: Digest | undefined },
  ): Promise<Route<RegistryClient>> {
    let isLocal: boolean
    try {
      isLocal = await this.#local.isMeant(name, wanted)
    } catch (error) {
      const route = this.#router.route({ ...asked, isLocal: true })
      if (!route.upstream) throw error
      return route
    }
    return this.#router.route({ ...asked, isLocal })
  }

  /**
   * At most `limit` repositories behind a name, under the names by which they can be asked for in the same way: where a
   * request names an upstream, its own. Throws RegistryError as `Router.upstreamOf` and `RepositoryLists.page` do.
   */
  async list(
    asked: AskedOfAll,
    { limit, ...wanted }: Omit<WantedRepositories, 'upstream'> & { readonly limit: number },
    options: AskOptions,
  ): Promise<RepositoryPage> {
    const upstream = this.#router.upstreamOf(asked)?.name
    return this.#lists.page({ ...wanted, upstream }, limit, options)
  }

  /** What has a term in its name, the best first, under names as `list` has them. Throws RegistryError as `list` does. */
  async search(
    term: string,
    asked: AskedOfAll,
    options: AskOptions & Pick<WantedRepositories, 'isAllowed'>,
  ): Promise<SearchResult[]> {
    return this.#search.find(term, { ...options, upstream: this.#router.upstreamOf(asked)?.name })
  }
}
