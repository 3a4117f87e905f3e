import type { AppOptions } from '../app.ts'
import type { OpenExpiring } from '../flow/expiring.ts'
import { UpstreamSearch } from '../mirror/upstream-search.ts'
import { dockerHub } from '../names/docker-hub.ts'
import type { LocalRepositories } from '../registry/local-repositories.ts'
import { RepositoryLists } from '../registry/repository-lists.ts'
import { Search } from '../registry/search.ts'
import type { Catalog } from '../storage/catalog.ts'
import type { RegistryClient } from '../upstream/registry-client.ts'
import { searchClient, type Ways } from './upstream-clients.ts'

interface ListedParts {
  readonly catalog: Catalog
  readonly local: LocalRepositories
  readonly upstreams: readonly RegistryClient[]
  readonly expiring: OpenExpiring
  /** Milliseconds that a client waits. */
  readonly patienceMs: number
}

/** What lists and searches all repositories; goes with `building`. Throws where certificates cannot be read. */
export async function listing(
  parts: ListedParts,
  options: AppOptions,
  ways: Ways,
  building: AsyncDisposableStack,
): Promise<{ readonly lists: RepositoryLists; readonly search: Search }> {
  const { catalog, local, upstreams, expiring, patienceMs } = parts
  const { servePrivate, staleAfter } = options.config.cache
  const lists = new RepositoryLists({
    catalog,
    upstreams: upstreams.map(({ name }) => name),
    servePrivateMs: servePrivate,
    patienceMs,
  })
  const upstream = await hubSearch(upstreams, expiring, options, ways, building)
  const { patience } = options.config.limits
  const search = new Search({
    lists,
    local,
    upstream,
    staleAfterMs: staleAfter,
    patienceMs: Math.min(patienceMs, patience),
  })
  return { lists, search }
}

/**
 * What searches Docker Hub, or the mirror before it, where it is among the upstreams; goes with `building`. Throws where its
 * certificates cannot be read.
 */
async function hubSearch(
  upstreams: readonly RegistryClient[],
  expiring: OpenExpiring,
  options: AppOptions,
  ways: Ways,
  building: AsyncDisposableStack,
): Promise<UpstreamSearch | undefined> {
  const { config, logger } = options
  const configured = config.upstreams.find(({ name }) => name === dockerHub.name)
  const upstream = upstreams.find(({ name }) => name === dockerHub.name)
  if (!configured || !upstream) return undefined
  return new UpstreamSearch({
    upstream,
    client: building.use(await searchClient(configured, options, ways)),
    expiring,
    revalidateMs: config.cache.revalidate,
    negativeMs: config.cache.negative,
    logger,
  })
}
