import { readFile } from 'node:fs/promises'
import type { AppOptions } from '../app.ts'
import type { UpstreamConfig } from '../config/config.ts'
import type { Expiring } from '../flow/expiring.ts'
import type { DocumentReader } from '../oci/document-reader.ts'
import type { Certificates } from '../upstream/connections/certificates.ts'
import type { LineUse } from '../upstream/connections/line-use.ts'
import type { Names } from '../upstream/connections/names.ts'
import { ProxySettings } from '../upstream/connections/proxy-settings.ts'
import { RegistryClient } from '../upstream/registry-client.ts'

/** What the clients of all upstreams share. */
export interface Ways {
  readonly documents: DocumentReader
  readonly tokens: Expiring<string>
  readonly names: Names
  readonly lineUse: LineUse
  readonly certificates: Certificates
  /** Of the environment. */
  readonly proxies: ProxySettings
}

/** The client of one upstream. Throws where its certificates cannot be read. */
export async function registryClient(
  { name, url, username, password, ca, realms, redirects, proxy }: UpstreamConfig,
  { config, logger, version, turnMs, busyPatienceMs }: AppOptions,
  { documents, tokens, names, lineUse, certificates, proxies }: Ways,
): Promise<RegistryClient> {
  return new RegistryClient({
    name,
    url: new URL(url),
    credentials: username !== undefined && password !== undefined ? { username, password } : undefined,
    realms,
    redirects,
    revalidateMs: config.cache.revalidate,
    downloads: config.limits.downloads,
    turnMs,
    busyPatienceMs,
    documents,
    names,
    lineUse,
    secureContext: certificates.secureContext(ca === undefined ? undefined : await readFile(ca, 'utf8')),
    proxies: proxy === undefined ? proxies : ProxySettings.fixed(proxy),
    stallMs: config.limits.stall,
    patienceMs: config.limits.patience,
    userAgent: `larder/${version}`,
    tokens,
    logger,
  })
}
