import { portOf, withoutBrackets } from './host-port.ts'
import type { ForwardProxy, ProxySettings } from './proxy-settings.ts'

export type Protocol = 'http:' | 'https:'

/** To whom a connection leads, and how. */
export interface Destination {
  readonly protocol: Protocol
  /** Without brackets. */
  readonly host: string
  readonly port: number
  /** `host:port`, with the brackets of an IPv6 address. */
  readonly at: string
  readonly origin: string
  readonly proxy: ForwardProxy | undefined
  /** Connections of one key may stand in for each other. It begins with `keyPrefix`, as those of Node's agents do. */
  readonly key: string
}

/** The way to where a URL of that protocol leads. */
export function destinationOf(url: URL, proxies: ProxySettings): Destination {
  const [host, port, protocol] = [withoutBrackets(url.hostname), portOf(url), url.protocol as Protocol]
  const at = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const proxy = proxies.proxyFor(url)
  const key = `${keyPrefix(url)}${protocol}${proxy?.label ?? ''}`
  return { protocol, host, port, at, origin: url.origin, proxy, key }
}

/** What the keys of all connections to a host and port begin with. */
export function keyPrefix(url: URL): string {
  return `${withoutBrackets(url.hostname)}:${portOf(url)}:`
}
