import { BlockList, isIPv6, type Socket } from 'node:net'

/** As the log tells it: the address, without the prefix that IPv4 has on a socket of both families. */
export function clientAddress({ remoteAddress }: Pick<Socket, 'remoteAddress'>): string {
  return remoteAddress === undefined ? 'unix socket' : remoteAddress.replace(/^::ffff:(?=\d)/, '')
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
