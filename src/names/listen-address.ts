import { isIPv4, isIPv6 } from 'node:net'
import { refuse, UnitError } from '../units/unit-error.ts'
import { hostName } from './host.ts'

/** Where the server listens. No `host` means every interface, IPv6 and IPv4; port 0 lets the system choose. */
export type ListenAddress =
  | { readonly host: string | undefined; readonly port: number; readonly path?: undefined }
  | { readonly path: string; readonly host?: undefined; readonly port?: undefined }

/** Bytes; what `sockaddr_un` of Linux holds beside its final zero. */
const longestSocketPath = 107

const name = new RegExp(`^(?=.{1,253}$)${hostName}$`, 'i')

/**
 * Reads `:5000`, `127.0.0.1:5000`, `[::1]:5000`, `name:5000`, `unix:/run/larder.sock`, or a port alone.
 * Throws UnitError.
 */
export function parseListenAddress(input: string | number): ListenAddress {
  const expected = 'an address such as ":5000", "127.0.0.1:5000" or "unix:/run/larder.sock"'
  const text = typeof input === 'number' ? `:${input}` : input.trim()
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length)
    if (Buffer.byteLength(path) > longestSocketPath) {
      throw new UnitError(`expected a path of ${longestSocketPath} bytes at most, as sockets may have`)
    }
    const isFile = /^\/.*[^/]$/s.test(path) && !path.includes('\0')
    return isFile ? { path } : refuse('an absolute path after "unix:"', input)
  }
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(/^\d{1,5}$/.test(text) ? `:${text}` : text)
  if (!match) {
    const isBare = isIPv6(text.replace(/:\d+$/, ''))
    return refuse(expected, input, isBare ? ': write an IPv6 address in brackets, "[::1]:5000"' : '')
  }
  const [, bracketed, bare, digits] = match
  const port = Number(digits)
  if (port > 65_535) refuse('a port from 0 to 65535', port)
  const host = bracketed ?? bare ?? ''
  if (host === '' && bracketed === undefined) return { host: undefined, port }
  // "256.1.1.1" is a fine host name to a grammar and a typing error to a person.
  const isName = name.test(host) && !/^[\d.]+$/.test(host)
  const isKnown = bracketed === undefined ? isIPv4(host) || isName : isIPv6(host)
  return isKnown ? { host, port } : refuse(expected, input)
}

/** The spelling that parseListenAddress reads. */
export function formatListenAddress(address: ListenAddress): string {
  if (address.path !== undefined) return `unix:${address.path}`
  const { host = '', port } = address
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Why an address cannot be listened on after others; undefined where it can. What could not be read is undefined. */
export function clashOf(
  address: ListenAddress,
  earlier: readonly (ListenAddress | undefined)[],
): string | undefined {
  const first = earlier.find((one) => one && collide(one, address))
  return first && `${formatListenAddress(first)} takes ${formatListenAddress(address)} with it: keep one`
}

/** Whether the system would refuse the second of two addresses, since the first has its port or path already. */
function collide(one: ListenAddress, other: ListenAddress): boolean {
  if (one.path !== undefined || other.path !== undefined) return one.path === other.path
  // Port 0 is another one each time.
  if (one.port !== other.port || one.port === 0) return false
  return one.host === other.host || takes(one.host, other.host) || takes(other.host, one.host)
}

/** Whether listening on `host` leaves no room for `other`. Without a host, and on "::", IPv4 belongs to it too. */
function takes(host: string | undefined, other: string | undefined): boolean {
  return host === undefined || host === '::' || (host === '0.0.0.0' && other !== undefined && isIPv4(other))
}
