import type { Socket } from 'node:net'

/** As the log tells it: the address, without the prefix that IPv4 has on a socket of both families. */
export function clientAddress({ remoteAddress }: Pick<Socket, 'remoteAddress'>): string {
  return remoteAddress === undefined ? 'unix socket' : remoteAddress.replace(/^::ffff:(?=\d)/, '')
}
