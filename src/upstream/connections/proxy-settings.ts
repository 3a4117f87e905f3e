import { portOf, withoutBrackets } from './host-port.ts'
import { type NoProxy, parseNoProxy } from './no-proxy.ts'

/** A forward proxy. */
export interface ForwardProxy {
  readonly protocol: 'http:' | 'https:'
  /** Without brackets. */
  readonly host: string
  readonly port: number
  /** `host:port`, for people. It holds no password. */
  readonly label: string
  /** The value of Proxy-Authorization, where the URL has a login. */
  readonly authorization: string | undefined
}

const variables = {
  'http:': ['http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'],
  'https:': ['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'],
} as const

/**
 * Which proxy a URL is reached through, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as curl reads them: lower
 * case wins, an empty variable is none, and NO_PROXY alone makes exceptions, not that a host is near.
 */
export class ProxySettings {
  /** What the environment says and we cannot do, a sentence each. No password is repeated. */
  readonly warnings: readonly string[]
  readonly #proxies: Readonly<Record<'http:' | 'https:', ForwardProxy | undefined>>
  readonly #noProxy: NoProxy

  private constructor(
    proxies: Readonly<Record<'http:' | 'https:', ForwardProxy | undefined>>,
    noProxy: NoProxy,
    warnings: readonly string[],
  ) {
    this.#proxies = proxies
    this.#noProxy = noProxy
    this.warnings = warnings
  }

  /** Reads the variables of an environment. Never throws: what cannot be used is in `warnings`. */
  static fromEnvironment(environment: NodeJS.ProcessEnv): ProxySettings {
    const warnings = new Set<string>()
    const read = (protocol: keyof typeof variables): ForwardProxy | undefined => {
      const name = variables[protocol].find((one) => isSet(environment[one]))
      if (name === undefined) return undefined
      const parsed = parseProxy(environment[name] ?? '')
      if (typeof parsed === 'object') return parsed
      warnings.add(`${name} ${parsed}: upstreams at ${protocol}// are reached without a proxy`)
      return undefined
    }
    const proxies = { 'http:': read('http:'), 'https:': read('https:') }
    const list = [environment.no_proxy, environment.NO_PROXY].find(isSet) ?? ''
    const noProxy = parseNoProxy(list)
    const isUsed = proxies['http:'] ?? proxies['https:']
    for (const entry of isUsed ? noProxy.unusable : []) {
      const usable = 'a name, *.name, an address, a network such as 10.0.0.0/8, or *'
      warnings.add(`NO_PROXY has ${JSON.stringify(entry)}, which exempts nothing: expected ${usable}`)
    }
    return new ProxySettings(proxies, noProxy, [...warnings])
  }

  /** One proxy for every URL. Throws TypeError where `url` is none that can be used. */
  static fixed(url: string): ProxySettings {
    const proxy = parseProxy(url)
    if (typeof proxy === 'string') throw new TypeError(`the proxy ${proxy}`)
    return new ProxySettings({ 'http:': proxy, 'https:': proxy }, parseNoProxy(''), [])
  }

  /** The hosts of the proxies, without brackets. */
  get hosts(): string[] {
    return Object.values(this.#proxies).flatMap((proxy) => (proxy ? [proxy.host] : []))
  }

  /** The proxy on the way to a URL; undefined where there is none. */
  proxyFor(url: URL): ForwardProxy | undefined {
    const protocol = url.protocol === 'https:' ? 'https:' : 'http:'
    const proxy = this.#proxies[protocol]
    if (!proxy) return undefined
    return this.#noProxy.includes(url.hostname, portOf(url)) ? undefined : proxy
  }
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value.trim() !== ''
}

/** Reads `http://user:password@host:port`, or `host:port`; what is wrong with it otherwise. */
function parseProxy(input: string): ForwardProxy | string {
  const text = input.trim()
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase()
  if (scheme !== undefined && scheme !== 'http' && scheme !== 'https') {
    return `names a proxy of the kind ${scheme}://, which this program cannot use (only http:// and https://)`
  }
  const url = URL.parse(scheme === undefined ? `http://${text}` : text)
  // A "#", "?" or "/" in a password ends the host too early; then the rest holds the "@".
  const isCut = url !== null && /@/.test(url.pathname + url.search + url.hash)
  if (!url || url.hostname === '' || isCut) {
    return 'cannot be read as http://host:port (special characters of a user name or password are written as %XX)'
  }
  const protocol = url.protocol === 'https:' ? 'https:' : 'http:'
  const host = withoutBrackets(url.hostname)
  // Without a port curl means 1080, Go and everybody else the port of the scheme.
  const port = portOf(url)
  const login = `${unescaped(url.username)}:${unescaped(url.password)}`
  return {
    protocol,
    host,
    port,
    label: `${url.hostname}:${port}`,
    authorization: login === ':' ? undefined : `Basic ${Buffer.from(login).toString('base64')}`,
  }
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    // A lone "%" that stands for itself.
    return text
  }
}
