import ipaddr from 'ipaddr.js'
import { refuse } from '../units/unit-error.ts'

/** Stands for whoever comes by a Unix socket, which has no address. */
export const unixPeer = 'unix'

/**
 * Reads an IP address, or a network in CIDR notation (RFC 4632, RFC 4291 section 2.3), or `unix`; returns it as it is
 * written. Throws UnitError.
 */
export function parseNetwork(text: string): string {
  const isGood = text === unixPeer || ipaddr.isValidCIDR(text) || isWholeAddress(text)
  return isGood ? text : refuse('an address or a network such as "10.0.0.0/8"', text)
}

/** `127.1` and `0x7f000001` are addresses to old programs, and are not meant by anybody. */
function isWholeAddress(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text)
}

/** Bits of the largest networks that somebody has for himself: 10.0.0.0/8 and fc00::/7. */
const widest = { ipv4: 8, ipv6: 7 } as const

/** Whether a network, as `parseNetwork` reads it, is a good part of all addresses. */
export function isWiderThanAnyNetwork(network: string): boolean {
  if (!network.includes('/')) return false
  const [address, bits] = ipaddr.parseCIDR(network)
  const isMapped = address instanceof ipaddr.IPv6 && address.isIPv4MappedAddress()
  if (isMapped && bits >= 96) return bits - 96 < widest.ipv4
  return bits < widest[address.kind()]
}
