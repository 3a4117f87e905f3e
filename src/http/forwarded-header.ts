import { isIP } from 'node:net'

/** What one proxy tells of one request (RFC 7239 4). */
export interface ForwardedElement {
  /** Whom it asks for, as it wrote it: an address, with a port or not; `unknown`; or a name that hides one. */
  readonly for?: string
  readonly host?: string
  readonly proto?: string
}

const pair = /[ \t]*([!#$%&'*+.^_`|~\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+.^_`|~\w:[\]-]*))[ \t]*/y

/**
 * Reads a Forwarded header (RFC 7239): an element for each proxy on the way, the nearest last. Undefined where any of
 * it cannot be read. Colons and brackets need quotation marks by the RFC, and some proxies leave them out.
 */
export function parseForwarded(header: string): readonly ForwardedElement[] | undefined {
  const elements: Record<string, string>[] = [{}]
  pair.lastIndex = 0
  for (;;) {
    const [whole, name = '', quoted, token] = pair.exec(header) ?? []
    if (whole === undefined) return undefined
    const element = elements.at(-1) ?? {}
    // One parameter twice in an element means two things.
    if (name.toLowerCase() in element) return undefined
    element[name.toLowerCase()] = quoted?.replace(/\\(.)/g, '$1') ?? token ?? ''
    const separator = header[pair.lastIndex]
    if (separator === undefined) return elements
    if (separator === ',') elements.push({})
    else if (separator !== ';') return undefined
    pair.lastIndex += 1
  }
}

/**
 * The IP address that a proxy names: `192.0.2.7`, `[2001:db8::7]`, either with a port, or an IPv6 address as it is.
 * Undefined for everything else, such as `unknown`, `_hidden` and `unix:`.
 */
export function addressOfNode(node: string): string | undefined {
  const text = node.trim()
  const [, bracketed, plain] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d{1,5})?$/.exec(text) ?? []
  const address = bracketed ?? plain ?? text
  return isIP(address) === 0 ? undefined : withoutMapping(address)
}

/** Without the prefix that an IPv4 address has on a socket of both families. */
export function withoutMapping(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '')
}
