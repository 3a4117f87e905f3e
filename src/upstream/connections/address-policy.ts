import type { LookupAddress } from 'node:dns'
import ipaddr from 'ipaddr.js'
import { withoutBrackets } from './host-port.ts'

/** Names that no public name server knows: of one part, or in a domain for private use (RFC 6761, 6762, 8375). */
const privateName =
  /^[^.]+\.?$|\.(?:internal|local|localhost|home\.arpa|intranet|private|corp|home|lan|localdomain|localnet)\.?$/i
/** As services that answer with the address in the name have it: 10.0.0.1.nip.io, 10-0-0-1.sslip.io. */
const addressInName = /(?:^|[.-])(\d{1,3})[.-](\d{1,3})[.-](\d{1,3})[.-](\d{1,3})(?=[.-])/
/** The same services take it in hexadecimal, and of IPv6 with dashes for colons. */
const hiddenAddress =
  /(?:^|[.-])(?:([0-9a-f]{8})|((?:[0-9a-f]{0,4}-){2,7}[0-9a-f]{0,4}))\.(?:nip|sslip)\.io\.?$/i

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

  /**
   * Tells whether the host of a URL may be connected to, as far as its spelling tells. `isProxied`: a proxy will look its
   * name up, and nobody here sees the address; then a name that is one of a private network is refused.
   */
  allowsHost(hostname: string, isProxied = false): boolean {
    const host = withoutBrackets(hostname)
    if (this.#configuredHosts.has(host)) return true
    if (ipaddr.isValid(host)) return this.#allows(host)
    return !this.#proxies.has(host) && !(isProxied && this.#looksPrivate(host))
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

  /** Not where the configured upstream is itself in a private network: names of its kind are then to be expected. */
  #looksPrivate(host: string): boolean {
    const isAtHome =
      this.#allowedRanges.size > 1 || [...this.#configuredHosts].some((one) => privateName.test(one))
    if (isAtHome) return false
    if (privateName.test(host)) return true
    const [, ...parts] = addressInName.exec(host) ?? []
    const [, hex, six] = hiddenAddress.exec(host) ?? []
    const hidden = [parts.join('.'), hex && `0x${hex}`, six?.replaceAll('-', ':')]
    return hidden.some((address) => address && ipaddr.isValid(address) && !this.#allows(address))
  }

  #allows(address: string): boolean {
    return this.#allowedRanges.has(rangeOf(address))
  }
}

/** The code of the error of a look-up that found only addresses that are not allowed. */
export const addressRefused = 'ERR_ADDRESS_REFUSED'

/** The kind of an address, such as unicast, private, loopback, linkLocal; IPv4 in IPv6 counts as IPv4. */
function rangeOf(address: string): string {
  const parsed = ipaddr.process(address)
  const range = parsed.range()
  if (parsed instanceof ipaddr.IPv4 || range === 'loopback' || range === 'unspecified') return range
  const at = offsetOfIPv4(parsed)
  return at === undefined ? range : new ipaddr.IPv4(parsed.toByteArray().slice(at, at + 4)).range()
}

/**
 * Where in an IPv6 address an IPv4 one stands that its packets may be brought to: 6to4 (RFC 3056), the well-known prefix
 * of NAT64 (RFC 6052), that of SIIT (RFC 7915), IPv4-compatible ones (RFC 4291 2.5.5.1).
 */
function offsetOfIPv4(address: ipaddr.IPv6): number | undefined {
  const prefix = address.parts.slice(0, 6).join()
  if (address.parts[0] === 0x2002) return 2
  return prefix === '0,0,0,0,0,0' || prefix === '0,0,0,0,65535,0' || prefix === '100,65435,0,0,0,0'
    ? 12
    : undefined
}
