import { readFile } from 'node:fs/promises'
import type { AppOptions } from '../app.ts'
import type { UpstreamConfig } from '../config/config.ts'
import type { Expiring } from '../flow/expiring.ts'
import type { Pieces } from '../flow/pieces.ts'
import type { TokenBucket } from '../flow/token-bucket.ts'
import type { Uplink } from '../flow/uplink.ts'
import type { DocumentReader } from '../oci/document-reader.ts'
import type { Certificates } from '../upstream/connections/certificates.ts'
import type { LineUse } from '../upstream/connections/line-use.ts'
import type { Names } from '../upstream/connections/names.ts'
import { ProxySettings } from '../upstream/connections/proxy-settings.ts'
import type { TransportOptions } from '../upstream/connections/transport.ts'
import { RegistryClient } from '../upstream/registry-client.ts'
import { SearchClient } from '../upstream/search-client.ts'

/** What the clients of all upstreams share. */
export interface Ways {
  readonly pieces: Pieces
  readonly documents: DocumentReader
  readonly tokens: Expiring<string>
  readonly names: Names
  readonly lineUse: LineUse
  /** Whether connections may be opened before they are needed. */
  readonly opensEarly: boolean
  readonly uplink: Uplink
  /** Of `limits.rate`; undefined: without a limit. */
  readonly rate: TokenBucket | undefined
  readonly certificates: Certificates
  /** Of the environment. */
  readonly proxies: ProxySettings
}

/** The client of one upstream. Throws where its certificates cannot be read. */
export async function registryClient(
  upstream: UpstreamConfig,
  options: AppOptions,
  ways: Ways,
): Promise<RegistryClient> {
  const { name, username, password, realms } = upstream
  const { config, logger, turnMs, busyPatienceMs } = options
  return new RegistryClient({
    ...(await wayTo(upstream, options, ways)),
    name,
    credentials: username !== undefined && password !== undefined ? { username, password } : undefined,
    realms,
    revalidateMs: config.cache.revalidate,
    reserve: config.limits.reserve,
    downloads: config.limits.downloads,
    connections: config.limits.connections,
    turnMs,
    busyPatienceMs,
    uplink: ways.uplink,
    documents: ways.documents,
    tokens: ways.tokens,
    logger,
  })
}

/** What searches it. Throws likewise. */
export async function searchClient(
  upstream: UpstreamConfig,
  options: AppOptions,
  ways: Ways,
): Promise<SearchClient> {
  return new SearchClient({ ...(await wayTo(upstream, options, ways)), upstream: upstream.name })
}

async function wayTo(
  { url, ca, redirects, proxy }: UpstreamConfig,
  { config, version }: AppOptions,
  { pieces, names, lineUse, opensEarly, rate, certificates, proxies }: Ways,
): Promise<Omit<TransportOptions, 'upstream'>> {
  const own = ca === undefined ? undefined : certificates.secureContext(await readFile(ca, 'utf8'))
  return {
    url: new URL(url),
    redirects,
    pieces,
    names,
    lineUse,
    opensEarly,
    rate,
    secureContext: () => own ?? certificates.secureContext(),
    proxies: proxy === undefined ? proxies : ProxySettings.fixed(proxy),
    stallMs: config.limits.stall,
    patienceMs: config.limits.patience,
    userAgent: `larder/${version}`,
  }
}
