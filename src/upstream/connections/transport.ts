import type { SecureContext } from 'node:tls'
import { LentBytes } from '../../flow/lent-bytes.ts'
import type { Pieces } from '../../flow/pieces.ts'
import { Pulse } from '../../flow/pulse.ts'
import type { TokenBucket } from '../../flow/token-bucket.ts'
import { RedirectHosts } from '../../names/redirect-hosts.ts'
import { elsewhere, UpstreamError } from '../error.ts'
import { AddressPolicy } from './address-policy.ts'
import { Agents, type Spares } from './agents.ts'
import { tlsExpected } from './connection-failure.ts'
import { Exchange, type TransportResponse } from './exchange.ts'
import { withoutBrackets } from './host-port.ts'
import type { LineUse } from './line-use.ts'
import type { Names } from './names.ts'
import { Overtaking } from './overtake.ts'
import type { ProxySettings } from './proxy-settings.ts'
import { readBody } from './read-body.ts'
import { RoundTrips } from './round-trips.ts'
import { loginHint } from './tunnel.ts'

export interface TransportOptions {
  /** The upstream's name, for errors. */
  readonly upstream: string
  readonly url: URL
  /** Where what it receives of blobs lies. */
  readonly pieces: Pieces
  readonly names: Names
  readonly lineUse: LineUse
  /** Whether connections may be opened before they are needed, which takes descriptors; true unless set. */
  readonly opensEarly?: boolean | undefined
  /** The authorities that are trusted. */
  readonly secureContext: () => SecureContext
  /** Bounds the bytes per second of all upstreams together; undefined: nothing does. */
  readonly rate?: TokenBucket | undefined
  readonly proxies: ProxySettings
  /** The only hosts, besides its own, that it may send us to (`upstreams[].redirects`); undefined: any public one. */
  readonly redirects?: readonly string[] | undefined
  /** Milliseconds without a byte after which a connection is given up. */
  readonly stallMs: number
  /** Milliseconds without a sign of life after which nobody waits for the answer to a question. */
  readonly patienceMs: number
  readonly userAgent: string
}

export interface TransportRequest {
  readonly method: 'GET' | 'HEAD'
  readonly url: URL
  readonly headers?: Readonly<Record<string, string | string[]>>
  readonly signal?: AbortSignal | undefined
  /** Waits until so many bytes of the body may come; they are not asked for before. Without it they are owed to the rate. */
  readonly pace?: ((bytes: number) => Promise<void>) | undefined
  /** Whether the body is to be read by `lent`: a long one is then taken off its connection. */
  readonly isLent?: boolean | undefined
  readonly redirects?: RedirectRules | undefined
}

/** What whoever asks wants done at a redirect, beyond the rules that hold for all of them. */
interface RedirectRules {
  /** Whether a redirect to `next` is answer enough and comes back as it is. */
  keep?(next: URL): boolean
  /**
   * The Authorization header for `next`, in place of what was sent so far; `isAway` from the moment on at which the
   * first origin was left. What it throws ends the request.
   */
  authorize?(next: URL, isAway: boolean): Promise<string | undefined>
}

/** Sends requests to URLs; see `Transport.request`. */
export type Sender = Pick<Transport, 'request'>

const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])
const maximumRedirects = 5
/** Times that a request is sent again because the connection it used was dead; each time all that lie idle are dropped. */
const maximumStale = 3
/** Bytes of a refusal in plain http that are looked at. */
const maximumRefusalBytes = 64 * 1024
/** Origins that are remembered to have answered in plain http; there are few, unless redirects lead to many. */
const maximumPlainOrigins = 64

/**
 * The way to one upstream: its agents, its proxy, its certificates, and the rules of where it may send us.
 * Redirects are followed by hand, so that credentials never leave the origin that they were meant for.
 */
export class Transport implements Disposable {
  readonly #options: TransportOptions
  readonly #addresses: AddressPolicy
  readonly #redirectHosts: RedirectHosts
  readonly #agents: Agents
  /** How long round trips take, by origin. */
  readonly roundTrips = new RoundTrips()
  readonly #overtaking: Overtaking
  readonly #plainOrigins = new Set<string>()

  constructor(options: TransportOptions) {
    this.#options = options
    this.#redirectHosts = new RedirectHosts(options.redirects)
    const configured = [withoutBrackets(options.url.hostname), ...this.#redirectHosts.named]
    this.#addresses = new AddressPolicy(configured, options.proxies.hosts)
    this.#agents = new Agents({ ...options, addresses: this.#addresses, roundTrips: this.roundTrips })
    this.#overtaking = new Overtaking(options)
  }

  /**
   * Sends a request and follows up to five redirects. `Authorization` goes to the first origin, unless `redirects` has
   * one for another; https is never left for http; hosts follow `redirects` of the options, addresses `AddressPolicy`. A connection that turns out to
   * be dead, or looks so, is replaced by a new one; nothing else is repeated. Throws UpstreamError.
   */
  async request(request: TransportRequest): Promise<TransportResponse> {
    let { url } = request
    let headers = request.headers ?? {}
    let isAway = false
    for (let redirects = 0; ; redirects += 1) {
      const response = await this.#send({ ...request, url, headers }).catch((error: unknown) => {
        // What a redirect led to says nothing about the registry itself.
        throw redirects > 0 && error instanceof UpstreamError ? elsewhere(error, url) : error
      })
      const { location } = response.headers
      const isRedirect = redirectStatuses.has(response.status) && location !== undefined
      if (!isRedirect) return response
      response.discard()
      if (redirects === maximumRedirects) throw this.#refused(`more than ${maximumRedirects} redirects`)
      const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined
      if (!next || !/^https?:$/.test(next.protocol))
        throw this.#refused('a redirect to something else than http')
      if (url.protocol === 'https:' && next.protocol === 'http:') {
        throw this.#refused(`a redirect from https to http, at ${next.host}`)
      }
      const isOwn = next.hostname === url.hostname || next.hostname === this.#options.url.hostname
      if (!isOwn && !this.#redirectHosts.allow(next)) {
        throw this.#refused(`a redirect to ${next.host}, which is not listed in upstreams[].redirects`)
      }
      if (request.redirects?.keep?.(next)) return response
      next.username = ''
      next.password = ''
      isAway ||= next.origin !== url.origin
      if (isAway) headers = withoutCredentials(headers)
      if (request.redirects?.authorize) {
        const { authorization: _, ...others } = headers
        const authorization = await request.redirects.authorize(next, isAway)
        headers = authorization === undefined ? others : { ...others, authorization }
      }
      url = next
    }
  }

  /** Whether a round trip to it takes so long that a connection is worth opening before it is needed. */
  isFar({ origin }: URL): boolean {
    const { url } = this.#options
    return this.roundTrips.isFar(origin) ?? this.roundTrips.isFar(url.origin) ?? false
  }

  /**
   * Opens connections to where a URL leads before they are needed, where it is far and may be gone to; redirects to it are for
   * whoever calls this to judge.
   */
  prepare(url: URL, spares: Spares): void {
    const { opensEarly = true, proxies } = this.#options
    if (!opensEarly) return
    const isProxied = proxies.proxyFor(url) !== undefined
    if (this.isFar(url) && this.#addresses.allowsHost(url.hostname, isProxied))
      this.#agents.prepare(url, spares)
  }

  /** Begins anew: closes every connection that lies idle. */
  dropIdle(): void {
    this.#agents.dropIdle()
  }

  [Symbol.dispose](): void {
    this.#agents[Symbol.dispose]()
  }

  async #send(request: TransportRequest & { url: URL }): Promise<TransportResponse> {
    const { url, method, signal, pace, headers, isLent = false } = request
    const pulse = Pulse.current
    const proxy = this.#options.proxies.proxyFor(url)
    if (!this.#addresses.allowsHost(url.hostname, proxy !== undefined)) {
      throw this.#refused(`it sends us to ${url.host}, an address of a private network`)
    }
    const { userAgent, stallMs, upstream, pieces } = this.#options
    const ours = { 'accept-encoding': 'identity', 'user-agent': userAgent, ...headers }
    const options = {
      upstream,
      method,
      url,
      headers: ours,
      agents: this.#agents,
      roundTrips: this.roundTrips,
      proxy,
      isKnown: this.#plainOrigins.has(url.origin),
      stallMs,
      signal,
      pace,
      isLent: isLent && method === 'GET',
      pieces,
      pulse,
    }
    const response = this.#charged(await this.#sendAlive(url, () => new Exchange(options)), pace)
    if (url.protocol !== 'http:') return response
    if (response.status !== 407 || !proxy) {
      const answer = response.status === 400 ? await this.#unlessTls(response) : response
      this.#notePlain(url)
      return answer
    }
    response.discard()
    const message = `the proxy ${proxy.label} wants a user name and a password, or other ones (it answered 407): ${loginHint}`
    throw new UpstreamError('UNREACHABLE', upstream, message)
  }

  /** What comes without a pace is small: it waits for nobody, and others wait for what it owes. */
  #charged(response: TransportResponse, pace: TransportRequest['pace']): TransportResponse {
    const { rate } = this.#options
    if (!rate || pace) return response
    const body = async function* () {
      for await (const chunk of response.body()) {
        rate.charge(chunk.length)
        yield chunk
      }
    }
    return { ...response, body }
  }

  /** Sends a request again on a new connection where a kept one turned out to be dead, or looks so. */
  async #sendAlive(url: URL, begin: () => Exchange): Promise<TransportResponse> {
    for (let stale = 0; ; stale += 1) {
      let exchange = begin()
      try {
        return await this.#overtaking.answerOf(exchange, () => {
          this.#agents.dropIdle(url)
          exchange = begin()
          return exchange
        })
      } catch (error) {
        // Timed out: this process had no time to send it beside the first one.
        const isSilent = error instanceof UpstreamError && /^(UNREACHABLE|TIMED_OUT)$/.test(error.code)
        if (!isSilent || !exchange.wasStale || stale === maximumStale) throw error
        this.#agents.dropIdle(url)
      }
    }
  }

  /** A 400 to plain http may say that the port is for TLS. Throws UpstreamError UNREACHABLE then. */
  async #unlessTls(response: TransportResponse): Promise<TransportResponse> {
    const { upstream } = this.#options
    const bytes = await readBody(response, upstream, maximumRefusalBytes).catch(() => Buffer.alloc(0))
    const failure = tlsExpected(bytes, upstream, response.url)
    if (failure) throw failure
    const body = async function* () {
      if (bytes.length > 0) yield bytes
    }
    const lent = async function* () {
      if (bytes.length > 0) yield LentBytes.of(bytes)
    }
    return { ...response, body, lent, discard: () => {} }
  }

  #notePlain({ origin }: URL): void {
    if (this.#plainOrigins.size < maximumPlainOrigins) this.#plainOrigins.add(origin)
  }

  #refused(what: string): UpstreamError {
    return new UpstreamError('REFUSED', this.#options.upstream, `refused to follow: ${what}`)
  }
}

function withoutCredentials<Value>(headers: Readonly<Record<string, Value>>): Record<string, Value> {
  const secret = /^(?:authorization|cookie|proxy-authorization)$/i
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !secret.test(name)))
}
