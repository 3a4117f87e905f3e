import type { IncomingMessage } from 'node:http'
import type { Origin } from '../access/origin.ts'
import { addressOfNode, type ForwardedElement, parseForwarded, withoutMapping } from './forwarded-header.ts'
import { PublicAddress, prefixOf } from './public-address.ts'
import { TrustedProxies } from './trusted-proxies.ts'

/** Headers by which a proxy tells that it asks for somebody else. */
const forwardingHeaders = [
  'forwarded',
  'x-forwarded-for',
  'x-original-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-forwarded-port',
  'x-forwarded-prefix',
  'x-forwarded-server',
  'x-real-ip',
  'x-client-ip',
  'x-cluster-client-ip',
  'x-envoy-external-address',
  'true-client-ip',
  'cf-connecting-ip',
  'fly-client-ip',
  'cdn-loop',
  'via',
] as const

/** The header by which a proxy says that it asks for somebody else; undefined where there is none. */
export function forwardingHeader({ headers }: IncomingMessage): string | undefined {
  return forwardingHeaders.find((name) => headers[name] !== undefined)
}

/** Characters of it in the log. */
const maximumForwardedFor = 200

/**
 * For whom a proxy asks, as it says (X-Forwarded-For, Forwarded, X-Real-IP); for the log alone, since anybody can write
 * anything there. Of a long one the end is kept, which is what the proxy nearest to us has added.
 */
export function forwardedFor({ headers }: IncomingMessage): string | undefined {
  const told = headers['x-forwarded-for'] ?? headers.forwarded ?? headers['x-real-ip']
  if (told === undefined) return undefined
  return String(told)
    .slice(-maximumForwardedFor)
    .replaceAll(/[^ -~]/g, '?')
}

/** What trusted proxies say of one request. */
export interface Told {
  /** Whoever asks the one that is farthest from us. Undefined where they do not say it, or say two things. */
  readonly client: string | undefined
  /** How that one was asked. */
  readonly scheme: string | undefined
  readonly host: string | undefined
  readonly port: string | undefined
  /** What the proxies took off the path, such as `/registry`. */
  readonly prefix: string | undefined
}

/** Entries of a list that are looked at, from the right: nobody has so many proxies, and a header may have thousands. */
const mostHops = 64

/** A chain of proxies: whom each asks for, the nearest to us last; undefined is one that does not say it. */
type Chain = readonly (string | undefined)[]

/**
 * Who asks, and by which address, where web servers stand between: `Forwarded` (RFC 7239) and `X-Forwarded-*`, taken
 * from those alone that are trusted, and from the right, as each of them has added to what came to it: what stands
 * further left is the word of whoever asked the first one that is not trusted.
 */
export class Forwarding {
  readonly proxies: TrustedProxies
  readonly #publicUrl: string | undefined
  readonly #publicPath: string

  /** `publicUrl`: as `parsePublicUrl` returns it. */
  constructor(options: { trustProxy?: readonly string[]; publicUrl?: string | undefined } = {}) {
    const { trustProxy = [], publicUrl } = options
    this.proxies = new TrustedProxies(trustProxy)
    this.#publicUrl = publicUrl
    this.#publicPath = publicUrl === undefined ? '' : prefixOf(new URL(publicUrl).pathname)
  }

  /** What the other end of the connection says, where it is trusted and says anything. */
  told(request: IncomingMessage): Told | undefined {
    const { headers, socket } = request
    const isTrusted = !this.proxies.isEmpty && this.proxies.has(peerOf(socket)) && !socket.destroyed
    return isTrusted ? readTold(headers, this.proxies) : undefined
  }

  /** From where a request comes; `told` is what this returned for it. */
  originOf(request: IncomingMessage, told: Told | undefined): Origin {
    const { headers, httpVersion, socket } = request
    const isOfPage =
      headers.origin !== undefined || !['none', undefined].includes(headers['sec-fetch-site'] as string)
    const peer = peerOf(socket)
    if (told?.client !== undefined) return { address: told.client, by: 'told', isOfPage }
    if (told !== undefined) return { address: peer, by: 'untold', isOfPage }
    // Of a connection that is closed already nothing is known; and nginx speaks HTTP/1.0 unless it is told otherwise,
    // which no client of a registry does.
    const isUnknown = peer === undefined && socket.destroyed
    const isProxy = httpVersion === '1.0' || forwardingHeader(request) !== undefined
    return { address: peer, by: isUnknown || isProxy ? 'hidden' : 'direct', isOfPage }
  }

  /** What links in the answer to it begin with. */
  publicAddressOf(request: IncomingMessage, told: Told | undefined): PublicAddress {
    return this.#publicUrl === undefined
      ? PublicAddress.ofRequest(request, told)
      : PublicAddress.ofUrl(this.#publicUrl)
  }

  /**
   * The URL of a request as it is routed: without the path of the public address, where the web server has left it
   * there. What X-Forwarded-Prefix says is left alone: a web server that passes on its client's own would let
   * `/x/metrics` through to what it keeps at `/metrics`.
   */
  routedUrl({ url = '' }: IncomingMessage): string {
    const path = this.#publicPath
    if (path === '' || !url.startsWith(path) || !/^[/?]?$/.test(url.charAt(path.length))) return url
    return url.slice(path.length).replace(/^(?!\/)/, '/')
  }

  /**
   * The header by which somebody says that it asks for others, where nobody is trusted; undefined where there is none.
   * Who forwards for the clients' side (`Via`) is no web server in front.
   */
  unheededHeader({ headers }: IncomingMessage): string | undefined {
    const names = ['x-forwarded-for', 'forwarded', 'x-forwarded-proto', 'x-real-ip']
    return this.proxies.isEmpty ? names.find((name) => headers[name] !== undefined) : undefined
  }
}

function peerOf({ remoteAddress }: { readonly remoteAddress?: string | undefined }): string | undefined {
  return remoteAddress === undefined ? undefined : withoutMapping(remoteAddress)
}

function readTold(headers: IncomingMessage['headers'], proxies: TrustedProxies): Told {
  const forwarded = headers.forwarded === undefined ? undefined : (parseForwarded(headers.forwarded) ?? [])
  const others = listOf(headers['x-forwarded-for'])
  const chains: Chain[] = []
  if (others) chains.push(others.map(addressOfNode))
  if (forwarded) chains.push(forwarded.map((element) => element.for && addressOfNode(element.for)))
  const found = chains.map((chain) => clientOf(chain, proxies))
  // A proxy sets the one and passes on the other as its client wrote it: nobody can tell which.
  const client = agreed(found.map((one) => one?.address))
  const hops = client === undefined ? 1 : (found[0]?.hops ?? 1)
  const element: ForwardedElement | undefined = forwarded?.at(-hops)
  const told = (name: string) => entryOf(listOf(headers[name]), hops)
  return {
    client,
    scheme: agreedIfTold([told('x-forwarded-proto'), element?.proto])?.toLowerCase(),
    host: agreedIfTold([told('x-forwarded-host'), element?.host]),
    port: told('x-forwarded-port'),
    prefix: prefixOf(listOf(headers['x-forwarded-prefix'])?.join('') ?? ''),
  }
}

/** The first from the right that is no trusted proxy, or the last of all; and how many proxies are on the way to it. */
function clientOf(chain: Chain, proxies: TrustedProxies): { address: string; hops: number } | undefined {
  for (let hops = 1; hops <= chain.length; hops += 1) {
    const address = chain.at(-hops)
    if (address === undefined) return undefined
    if (hops === chain.length || !proxies.has(address)) return { address, hops }
  }
  return undefined
}

/** What the proxy so many hops away has added; each adds one, or the nearest has written one for all. */
function entryOf(list: readonly string[] | undefined, hops: number): string | undefined {
  return list?.at(-Math.min(hops, list.length))
}

function agreedIfTold(values: readonly (string | undefined)[]): string | undefined {
  return agreed(values.filter((value) => value !== undefined && value !== ''))
}

/** Undefined where they say two things. */
function agreed(values: readonly (string | undefined)[]): string | undefined {
  return values.every((value) => value === values[0]) ? values[0] : undefined
}

function listOf(header: string | readonly string[] | undefined): readonly string[] | undefined {
  return header === undefined
    ? undefined
    : String(header)
        .split(',')
        .slice(-mostHops)
        .map((entry) => entry.trim())
}
