import type { LookupAddress } from 'node:dns'
import ipaddr from 'ipaddr.js'

/**
 * Decides which addresses an upstream may send us to. Public ones always; loopback, private, link-local and the
 * like only where the configured upstream itself is at such an address. Checked on the address that is connected
 * to, so a name that resolves to another address the second time gains nothing (threat: DNS rebinding).
 */
export class AddressPolicy {
  /** Hosts that the operator configured for the upstream. */
  readonly #configuredHosts: ReadonlySet<string>
  /** Hosts that the upstream may not send us to, whatever their address is. */
  readonly #proxies: ReadonlySet<string>
  readonly #allowedRanges = new Set<string>(['unicast'])

  /** Hosts and proxies without brackets or port. A proxy at a private address opens its network to nobody else. */
  constructor(hosts: readonly string[], proxies: readonly string[] = []) {
    this.#configuredHosts = new Set(hosts)
    this.#proxies = new Set(proxies)
    for (const host of hosts) {
      if (ipaddr.isValid(host)) this.#allowedRanges.add(rangeOf(host))
    }
  }

  /** Tells whether the host of a URL may be connected to, as far as its spelling tells. */
  allowsHost(hostname: string): boolean {
    const host = hostname.replace(/^\[|\]$/g, '')
    if (this.#configuredHosts.has(host)) return true
    return ipaddr.isValid(host) ? this.#allows(host) : !this.#proxies.has(host)
  }

  /**
   * The addresses of a name that may be connected to. Throws an Error with the code `addressRefused` where none may. Those of
   * the configured hosts always may, and open their kind of network to what they send us to.
   */
  select(hostname: string, addresses: readonly LookupAddress[]): readonly LookupAddress[] {
    if (this.#configuredHosts.has(hostname)) {
      for (const { address } of addresses) this.#allowedRanges.add(rangeOf(address))
      return addresses
    }
    const allowed = addresses.filter(({ address }) => this.#allows(address))
    if (allowed.length > 0) return allowed
    const found = addresses.map(({ address }) => address).join(', ')
    const refusal = new Error(`${hostname} has only addresses of a private network (${found})`)
    throw Object.assign(refusal, { code: addressRefused })
  }

  #allows(address: string): boolean {
    return this.#allowedRanges.has(rangeOf(address))
  }
}

/** The code of the error of a look-up that found only addresses that are not allowed. */
export const addressRefused = 'ERR_ADDRESS_REFUSED'

/** The kind of an address, such as unicast, private, loopback, linkLocal; IPv4 in IPv6 counts as IPv4. */
function rangeOf(address: string): string {
  return ipaddr.process(address).range()
}
