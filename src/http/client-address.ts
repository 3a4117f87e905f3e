import { isIPv6, type Socket } from 'node:net'
import ipaddr from 'ipaddr.js'
import { withoutMapping } from './forwarded-header.ts'

/** As the log tells it: the address, without the prefix that IPv4 has on a socket of both families. */
export function clientAddress({ remoteAddress }: Pick<Socket, 'remoteAddress'>): string {
  return remoteAddress === undefined ? 'unix socket' : withoutMapping(remoteAddress)
}

/**
 * Who a bound by client counts a connection for: an IPv4 address, the /64 of an IPv6 address (of which one machine has
 * as many as it likes), or `unix socket`.
 */
export function clientKey(socket: Pick<Socket, 'remoteAddress'>): string {
  const address = clientAddress(socket)
  if (!isIPv6(address)) return address
  const network = ipaddr.IPv6.parse(address)
  network.parts.fill(0, 4)
  return `${network}/64`
}
