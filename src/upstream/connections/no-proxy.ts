import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import ipaddr from 'ipaddr.js'
import { withoutBrackets } from './host-port.ts'

type Address = ipaddr.IPv4 | ipaddr.IPv6
type Rule = (host: string, address: Address | undefined, port: number) => boolean

/** The hosts that are reached without a proxy. */
export interface NoProxy {
  /** `host` as in `URL.hostname`: lower case, IPv6 in brackets or not. */
  includes(host: string, port: number): boolean
  /** Entries that say nothing that we understand. */
  readonly unusable: readonly string[]
}

/**
 * Reads NO_PROXY as curl and Go's `httpproxy` do: entries between commas and white space; `*` for every host; networks
 * (`10.0.0.0/8`) and addresses for hosts that are written as an address; a name for itself and its subdomains, with or
 * without a dot before it; `*.name` for the subdomains alone; each but a network with a `:port` or without.
 */
export function parseNoProxy(list: string): NoProxy {
  const rules: Rule[] = []
  const unusable: string[] = []
  for (const entry of list.split(/[\s,]+/)) {
    if (entry === '') continue
    const rule = parseEntry(entry.toLowerCase())
    if (rule) rules.push(rule)
    else unusable.push(entry)
  }
  return {
    unusable,
    includes(host, port) {
      const bare = withoutBrackets(host).replace(/\.$/, '')
      const address = isIP(bare) ? ipaddr.process(bare) : undefined
      return rules.some((rule) => rule(bare, address, port))
    },
  }
}

function parseEntry(entry: string): Rule | undefined {
  if (entry === '*') return () => true
  if (entry.includes('/')) return parseNetwork(entry)
  const { host, port: only } = splitPort(entry)
  const isPort = (port: number): boolean => only === undefined || only === port
  if (isIP(host)) {
    const wanted = ipaddr.process(host).toString()
    return (_host, address, port) => address?.toString() === wanted && isPort(port)
  }
  const name = parseName(host)
  if (name === undefined) return undefined
  const isItself = !host.startsWith('*')
  return (asked, address, port) =>
    !address && isPort(port) && ((isItself && asked === name) || asked.endsWith(`.${name}`))
}

function parseNetwork(entry: string): Rule | undefined {
  const [, text = '', length = ''] = /^\[?([^[\]]*)\]?\/(\d{1,3})$/.exec(entry) ?? []
  const family = isIP(text)
  if (family === 0 || Number(length) > (family === 4 ? 32 : 128)) return undefined
  const parsed = ipaddr.parse(text)
  const isMapped = parsed instanceof ipaddr.IPv6 && parsed.isIPv4MappedAddress() && Number(length) >= 96
  const network = isMapped ? parsed.toIPv4Address() : parsed
  const bits = Number(length) - (isMapped ? 96 : 0)
  return (_host, address) => address?.kind() === network.kind() && address.match(network, bits)
}

/** `[::1]:443`, `::1`, `host:443`, `host`. */
function splitPort(entry: string): { host: string; port: number | undefined } {
  const bracketed = /^\[([^\]]*)\](?::(\d{1,5}))?$/.exec(entry)
  const [, host = entry, port] = bracketed ?? /^([^:]*):(\d{1,5})$/.exec(entry) ?? []
  return { host, port: port === undefined ? undefined : Number(port) }
}

/** A domain name without the dots around it; undefined where it cannot be one. */
function parseName(host: string): string | undefined {
  const bare = host.replace(/^(?:\*?\.)/, '').replace(/\.$/, '')
  const name = /^[\x20-\x7e]*$/.test(bare) ? bare : domainToASCII(bare)
  // No name ends in a number: 192.168 or 10.0.0.1-10.0.0.9 were meant as addresses.
  const isName = /^[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?$/.test(name) && !/(?:^|\.)\d+$/.test(name)
  return isName ? name : undefined
}
