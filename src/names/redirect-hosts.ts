import { refuse } from '../units/unit-error.ts'
import { hostName } from './host.ts'

const redirectHost = new RegExp(`^(?:\\*\\.)?${hostName}(?::\\d{1,5})?$`)

/** A host, or `*.` and a host, with a port or without. Throws UnitError. */
export function parseRedirectHost(input: string): string {
  const host = input.toLowerCase()
  return redirectHost.test(host) ? host : refuse('a host such as "cdn.example.com" or "*.example.com"', input)
}

/**
 * The hosts that an operator lets an upstream send us to (`upstreams[].redirects`): `cdn.example.com`, with a port for
 * that one alone, `*.example.com` for every host below it.
 */
export class RedirectHosts {
  /** Those that are named, not by a pattern: without a port. */
  readonly named: readonly string[]
  readonly #entries: readonly string[] | undefined

  /** `entries`: undefined where every host will do. */
  constructor(entries: readonly string[] | undefined) {
    this.#entries = entries
    this.named = (entries ?? []).filter((entry) => !entry.startsWith('*')).map(withoutPort)
  }

  /** Whether a redirect may lead to a URL, as far as the list tells. */
  allow(url: URL): boolean {
    if (!this.#entries) return true
    const hostname = url.hostname.replace(/\.$/, '')
    const port = url.port || (url.protocol === 'https:' ? '443' : '80')
    return this.#entries.some((entry) => {
      const host = withoutPort(entry)
      const isHost = host.startsWith('*.') ? hostname.endsWith(host.slice(1)) : hostname === host
      return isHost && (host === entry || entry === `${host}:${port}`)
    })
  }
}

function withoutPort(entry: string): string {
  return entry.replace(/:\d+$/, '')
}
