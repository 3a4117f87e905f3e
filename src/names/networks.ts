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
