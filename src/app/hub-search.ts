import type { AppOptions } from '../app.ts'
import type { OpenExpiring } from '../flow/expiring.ts'
import { UpstreamSearch } from '../mirror/upstream-search.ts'
import { dockerHub } from '../names/docker-hub.ts'
import type { RegistryClient } from '../upstream/registry-client.ts'
import { searchClient, type Ways } from './upstream-clients.ts'

/**
 * What searches Docker Hub, or the mirror before it, where it is among the upstreams; goes with `parts`. Throws where its
 * certificates cannot be read.
 */
export async function hubSearch(
  upstreams: readonly RegistryClient[],
  expiring: OpenExpiring,
  options: AppOptions,
  ways: Ways,
  parts: AsyncDisposableStack,
): Promise<UpstreamSearch | undefined> {
  const { config, logger } = options
  const configured = config.upstreams.find(({ name }) => name === dockerHub.name)
  const upstream = upstreams.find(({ name }) => name === dockerHub.name)
  if (!configured || !upstream) return undefined
  return new UpstreamSearch({
    upstream,
    client: parts.use(await searchClient(configured, options, ways)),
    expiring,
    revalidateMs: config.cache.revalidate,
    negativeMs: config.cache.negative,
    logger,
  })
}
