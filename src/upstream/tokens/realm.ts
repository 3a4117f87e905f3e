import { getDomain } from 'tldts'
import { isListed } from '../../names/realm.ts'

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
  const isAtHome = url.hostname === upstream.hostname || sharesDomain(url, upstream)
  return isAtHome || listed.some((entry) => isListed(url, entry)) ? url : undefined
}

/** IP addresses have no registrable domain, and public suffixes (github.io) count as such. */
function sharesDomain(one: URL, other: URL): boolean {
  const domain = getDomain(one.hostname, { allowPrivateDomains: true })
  return domain !== null && domain === getDomain(other.hostname, { allowPrivateDomains: true })
}
