import { UnitError } from '../units/unit-error.ts'
import { parseUrl } from './upstream-url.ts'

/** A host (any port and, where the registry itself is at http, http too) or an origin. Throws UnitError. */
export function parseRealm(input: string): string {
  const url = parseUrl(input.includes('://') ? input : `https://${input}`, 'https://auth.example.com')
  if (url.username === '' && url.password === '') return input.includes('://') ? url.origin : url.host
  throw new UnitError('a realm must not hold a user name or password')
}

/** Whether a realm is that of a list's entry: a host, a host with a port, or a URL whose origin and path the realm has. */
export function isListed(realm: URL, entry: string): boolean {
  if (!entry.includes('://')) return entry === realm.host || entry === realm.hostname
  if (!URL.canParse(entry)) return false
  const listed = new URL(entry)
  return listed.origin === realm.origin && (listed.pathname === '/' || listed.pathname === realm.pathname)
}
