import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Told } from './forwarding.ts'

/** Hosts as clients write them: a name or an address, and a port. Whatever else comes is repeated to nobody. */
const plainHost = /^(?=.{1,260}$)(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i

/** The address by which a client reaches us: what it is sent to begins with it. */
export class PublicAddress {
  /** Without a slash at its end, such as `https://mirror.example.com/registry`. */
  readonly url: string
  readonly #start: string

  private constructor(url: string, start: string) {
    this.url = url
    this.#start = start
  }

  /** The configured one: all links are absolute. */
  static ofUrl(url: string): PublicAddress {
    return new PublicAddress(url, url)
  }

  /**
   * The one that the client used, as it or a trusted proxy says. Its links have neither scheme nor host (RFC 3986 4.2):
   * they are right also behind a web server that does not tell these.
   */
  static ofRequest({ headers, socket }: IncomingMessage, told: Told | undefined): PublicAddress {
    const isTls = (socket as Partial<TLSSocket>).encrypted === true
    const scheme = /^https?$/.test(told?.scheme ?? '') ? told?.scheme : isTls ? 'https' : 'http'
    const host = hostOf(told) ?? plain(headers.host) ?? localHost(socket)
    const prefix = told?.prefix ?? ''
    return new PublicAddress(`${scheme}://${host}${prefix}`, prefix)
  }

  /** What a Location or a Link says for one of our own paths, such as `/v2/app/tags/list`. */
  linkTo(path: string): string {
    return this.#start + path
  }
}

/** The part of a path that stands in front of ours, without a slash at its end; empty where it is none to repeat. */
export function prefixOf(path: string): string {
  const prefix = path.replaceAll(/\/+/g, '/').replace(/\/$/, '')
  return prefix.length <= 200 && /^(?:\/(?!\.{1,2}(?:\/|$))[\w.~-]+)*$/.test(prefix) ? prefix : ''
}

function hostOf(told: Told | undefined): string | undefined {
  const host = plain(told?.host)
  // `$host` of nginx has no port. Of two servers in a row the inner one may be asked at 80 for what came to the outer's 443.
  const isWithout = host !== undefined && !/:\d+$/.test(host)
  const isOther = /^\d{1,5}$/.test(told?.port ?? '') && told?.port !== '80' && told?.port !== '443'
  return isWithout && isOther ? `${host}:${told?.port}` : host
}

function plain(host: string | undefined): string | undefined {
  const isGood = host !== undefined && plainHost.test(host) && URL.canParse(`http://${host}`)
  return isGood ? host : undefined
}

/** For whoever names no host (HTTP/1.0). */
function localHost({ localAddress = 'localhost', localPort }: Socket): string {
  const host = localAddress.includes(':') ? `[${localAddress}]` : localAddress
  return localPort === undefined ? host : `${host}:${localPort}`
}
