import { createRequire } from 'node:module'
import { isListed } from '../../names/realm.ts'

const require = createRequire(import.meta.url)

/**
 * Parses the realm of a challenge and tells whether it may be asked for a token: it lies on the upstream's own
 * host (any port), on its registrable domain, or is listed; it is https unless the upstream itself is http; and
 * it carries no user and password (CVE-2026-33540, CVE-2026-12566: credentials sent to any realm). Returns
 * undefined where it may not.
 */
export function acceptRealm(
  realm: string | undefined,
  upstream: URL,
  listed: readonly string[],
): URL | undefined {
  const url = realm !== undefined && URL.canParse(realm) ? new URL(realm) : undefined
  if (!url || url.username || url.password || url.hash) return undefined
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && upstream.protocol === 'http:'))
    return undefined
  const isNamed = url.hostname === upstream.hostname || listed.some((entry) => isListed(url, entry))
  return isNamed || sharesDomain(url, upstream) ? url : undefined
}

/** IP addresses have no registrable domain, and public suffixes (github.io) count as such. */
function sharesDomain(one: URL, other: URL): boolean {
  // The list of public suffixes is 2 MB, and most registries answer for themselves or have their realm listed.
  const { getDomain }: typeof import('tldts') = require('tldts')
  const domain = getDomain(one.hostname, { allowPrivateDomains: true })
  return domain !== null && domain === getDomain(other.hostname, { allowPrivateDomains: true })
}
