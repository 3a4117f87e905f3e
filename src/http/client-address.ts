import { BlockList, isIPv6, type Socket } from 'node:net'
import ipaddr from 'ipaddr.js'

/** As the log tells it: the address, without the prefix that IPv4 has on a socket of both families. */
export function clientAddress({ remoteAddress }: Pick<Socket, 'remoteAddress'>): string {
  return remoteAddress === undefined ? 'unix socket' : remoteAddress.replace(/^::ffff:(?=\d)/, '')
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

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8)
loopback.addAddress('::1', 'ipv6')

/**
 * Whether the other end of a connection is on this machine: at the loopback, or at a Unix socket. Of a socket that is
 * closed already neither is known, and it is nobody.
 */
export function isThisMachine({
  remoteAddress: address,
  destroyed,
}: Pick<Socket, 'remoteAddress' | 'destroyed'>): boolean {
  if (address === undefined) return !destroyed
  return loopback.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}
