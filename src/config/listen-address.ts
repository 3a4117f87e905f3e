import { isIPv4, isIPv6 } from 'node:net'
import { describeValue } from './describe-value.ts'
import { UnitError } from './units.ts'

/** Where the server listens. No `host` means every interface, IPv6 and IPv4; port 0 lets the system choose. */
export type ListenAddress =
  | { readonly host: string | undefined; readonly port: number; readonly path?: undefined }
  | { readonly path: string; readonly host?: undefined; readonly port?: undefined }

/** Bytes; what `sockaddr_un` of Linux holds beside its final zero. */
const longestSocketPath = 107

const hostName =
  /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/i

/**
 * Reads `:5000`, `127.0.0.1:5000`, `[::1]:5000`, `name:5000`, `unix:/run/larder.sock`, or a port alone.
 * Throws UnitError.
 */
export function parseListenAddress(input: string | number): ListenAddress {
  const expected = 'expected an address such as ":5000", "127.0.0.1:5000" or "unix:/run/larder.sock"'
  const text = typeof input === 'number' ? `:${input}` : input.trim()
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length)
    if (Buffer.byteLength(path) > longestSocketPath) {
      throw new UnitError(`expected a path of ${longestSocketPath} bytes at most, as sockets may have`)
    }
    if (/^\/.*[^/]$/s.test(path) && !path.includes('\0')) return { path }
    throw new UnitError(`expected an absolute path after "unix:"; got ${describeValue(input)}`)
  }
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(/^\d{1,5}$/.test(text) ? `:${text}` : text)
  if (!match) {
    const hint = isIPv6(text.replace(/:\d+$/, '')) ? ': write an IPv6 address in brackets, "[::1]:5000"' : ''
    throw new UnitError(`${expected}; got ${describeValue(input)}${hint}`)
  }
  const [, bracketed, bare, digits] = match
  const port = Number(digits)
  if (port > 65_535) throw new UnitError(`expected a port from 0 to 65535; got ${port}`)
  const host = bracketed ?? bare ?? ''
  if (host === '' && bracketed === undefined) return { host: undefined, port }
  const known = bracketed === undefined ? isIPv4(host) || hostName.test(host) : isIPv6(host)
  // "256.1.1.1" is a fine host name to a grammar and a typing error to a person.
  if (!known || (/^[\d.]+$/.test(host) && !isIPv4(host))) {
    throw new UnitError(`${expected}; got ${describeValue(input)}`)
  }
  return { host, port }
}

/** The spelling that parseListenAddress reads. */
export function formatListenAddress(address: ListenAddress): string {
  if (address.path !== undefined) return `unix:${address.path}`
  const { host = '', port } = address
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Whether the system would refuse the second of two addresses, since the first has its port or path already. */
export function collide(one: ListenAddress, other: ListenAddress): boolean {
  if (one.path !== undefined || other.path !== undefined) return one.path === other.path
  // Port 0 is another one each time; without any it is what could not be read, and is complained of already.
  if (one.port !== other.port || !one.port) return false
  return one.host === other.host || takes(one.host, other.host) || takes(other.host, one.host)
}

/** Whether listening on `host` leaves no room for `other`. Without a host, and on "::", IPv4 belongs to it too. */
function takes(host: string | undefined, other: string | undefined): boolean {
  if (host === undefined || host === '::') return true
  return host === '0.0.0.0' && other !== undefined && isIPv4(other)
}
