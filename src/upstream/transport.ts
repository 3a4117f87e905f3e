import { once } from 'node:events'
import http, { type IncomingHttpHeaders } from 'node:http'
import https from 'node:https'
import { pipeline } from 'node:stream/promises'
import { getCACertificates } from 'node:tls'
import got, { type Request, RequestError, TimeoutError } from 'got'
import { AddressPolicy, addressRefused } from './address-policy.ts'
import { Arrivals } from './arrivals.ts'
import { elsewhere, UpstreamError } from './error.ts'

export interface TransportOptions {
  /** The upstream's name, for errors. */
  readonly upstream: string
  readonly url: URL
  /** Certificates in PEM that are trusted besides the usual ones. */
  readonly ca: string | undefined
  /** The proxy settings in the form of the environment: HTTP_PROXY, HTTPS_PROXY, NO_PROXY. */
  readonly proxyEnvironment: NodeJS.ProcessEnv
  /** Milliseconds without a byte after which a connection is given up. */
  readonly stallMs: number
  readonly userAgent: string
}

export interface TransportRequest {
  readonly method: 'GET' | 'HEAD'
  readonly url: URL
  readonly headers?: Readonly<Record<string, string | string[]>>
  readonly signal?: AbortSignal | undefined
  /** Waits until so many bytes of the body may come; they are not asked for before. */
  readonly pace?: ((bytes: number) => Promise<void>) | undefined
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

/** An answer whose body is read by `body`, or dropped by `discard`, exactly once. */
export interface TransportResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly url: URL
  /** The bytes as they arrive. Throws UpstreamError TIMED_OUT on a stall, UNREACHABLE when cut. */
  body(): AsyncGenerator<Buffer, void, undefined>
  /** Ends the connection; `body` ends without an error after what has arrived. */
  stop(): void
  /** Lets go of an answer whose body nobody reads. */
  discard(): void
}

/** Milliseconds: three tries of a SYN; satellites take more than a second for one. */
const connectMs = 8000
/** Milliseconds in which an answer that nobody needs more of may end by itself. */
const lingerMs = 500
/** Bytes of an unwanted answer that are read; more cost more than a new connection. */
const drainBytes = 16 * 1024
const redirectStatuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])
const maximumRedirects = 5

/**
 * The way to one upstream: its agents, its proxy, its certificates, and the rules of where it may send us.
 * Redirects are followed by hand, so that credentials never leave the origin that they were meant for.
 */
export class Transport implements Disposable {
  readonly #options: TransportOptions
  readonly #addresses: AddressPolicy
  readonly #agents: { http: http.Agent; https: https.Agent }

  constructor(options: TransportOptions) {
    this.#options = options
    const { proxyEnvironment } = options
    this.#addresses = new AddressPolicy([hostOf(options.url)], proxyHosts(proxyEnvironment))
    const shared = { keepAlive: true, proxyEnv: proxyEnvironment }
    this.#agents = { http: new http.Agent(shared), https: new https.Agent(shared) }
  }

  /**
   * Sends a request and follows up to five redirects. `Authorization` goes to the first origin, unless `redirects` has
   * one for another; https is never left for http; addresses follow `AddressPolicy`. Throws UpstreamError.
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

  [Symbol.dispose](): void {
    this.#agents.http.destroy()
    this.#agents.https.destroy()
  }

  async #send(request: TransportRequest & { url: URL }): Promise<TransportResponse> {
    const { url, method, signal } = request
    if (!this.#addresses.allowsHost(url.hostname)) {
      throw this.#refused(`it sends us to ${url.host}, an address of a private network`)
    }
    const { ca, userAgent, stallMs } = this.#options
    const stream = got.stream(url, {
      method,
      headers: { 'accept-encoding': 'identity', 'user-agent': userAgent, ...request.headers },
      agent: this.#agents,
      dnsLookup: this.#addresses.lookup,
      ...(ca === undefined ? {} : { https: { certificateAuthority: [...getCACertificates('default'), ca] } }),
      ...(signal ? { signal } : {}),
      followRedirect: false,
      throwHttpErrors: false,
      decompress: false,
      retry: { limit: 0 },
      timeout: { lookup: connectMs, connect: connectMs, secureConnect: connectMs, response: stallMs },
    })
    stream.once('request', (sent: http.ClientRequest) => this.#limitTunnel(stream, sent))
    // An error after the answer reaches whoever reads the body; where nobody does, it must not end the process. It
    // may come in the same packet as the answer, before anybody can read.
    stream.on('error', () => {})
    stream.once('upgrade', () => stream.destroy(this.#invalid('it wants to speak another protocol')))
    let response: http.IncomingMessage
    try {
      ;[response] = await once(stream, 'response')
    } catch (error) {
      signal?.throwIfAborted()
      throw this.#translate(error)
    }
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      url,
      ...this.#body(stream, request),
      discard: () => void this.#drain(stream, method === 'HEAD' ? 0 : response.headers['content-length']),
    }
  }

  /** Gives up a proxy that accepts a connection and never opens the tunnel: got counts from the socket on only. */
  #limitTunnel(stream: Request, sent: http.ClientRequest): void {
    const late = (): void => {
      const message = `no connection within ${connectMs / 1000} s`
      stream.destroy(new UpstreamError('TIMED_OUT', this.#options.upstream, message))
    }
    const timer = setTimeout(late, connectMs)
    for (const event of ['socket', 'close']) sent.once(event, () => clearTimeout(timer))
  }

  /** Reads what is left of a small answer: its connection can then serve again, and a new one takes round trips. */
  async #drain(stream: Request, length: number | string | undefined): Promise<void> {
    const watchdog = setTimeout(() => stream.destroy(), this.#options.stallMs)
    watchdog.unref()
    try {
      let left = Number(length ?? 0) > drainBytes ? 0 : drainBytes
      if (left > 0) {
        for await (const chunk of stream) {
          left -= chunk.length
          if (left < 0) break
        }
      }
    } catch {
      // Nobody wants this answer any more, hence nobody wants to know how it ended.
    } finally {
      clearTimeout(watchdog)
      stream.destroy()
    }
  }

  /** The body of an answer: `bytes` yields what arrives, `stop` ends the connection, and `bytes` after what is here. */
  #body(stream: Request, { signal, pace }: TransportRequest): Pick<TransportResponse, 'body' | 'stop'> {
    const { stallMs, upstream } = this.#options
    let isStopped = false
    const stop = (): void => {
      isStopped = true
      stream.destroy()
    }
    const translate = (error: unknown) => this.#translate(error)
    async function* body(): AsyncGenerator<Buffer, void, undefined> {
      const arrivals = new Arrivals(pace)
      let end: { error?: unknown } | undefined
      const ended = pipeline(stream, arrivals).then(
        () => {
          end = {}
        },
        (error: unknown) => {
          end = { error }
        },
      )
      try {
        for (;;) {
          const chunk = arrivals.take()
          if (chunk) {
            yield chunk
            continue
          }
          if (end) break
          // The watchdog runs only while we wait for the upstream, not while our own side is slow to take bytes.
          const watchdog = setTimeout(() => {
            stream.destroy(new UpstreamError('TIMED_OUT', upstream, `no byte for ${stallMs / 1000} s`))
          }, stallMs)
          await Promise.race([arrivals.arrival(), ended])
          clearTimeout(watchdog)
        }
      } finally {
        // Whoever has all that was wanted leaves before the end is read; a moment later the connection can serve
        // again. One that sends on is closed.
        const closing = setTimeout(() => stream.destroy(), lingerMs)
        closing.unref()
        ended.finally(() => clearTimeout(closing))
      }
      if (isStopped || !('error' in end)) return
      signal?.throwIfAborted()
      throw translate(end.error)
    }
    return { body, stop }
  }

  #translate(error: unknown): UpstreamError {
    const { upstream } = this.#options
    // Got wraps what its stream is destroyed with.
    if (error instanceof RequestError && error.cause instanceof UpstreamError) return error.cause
    const message = error instanceof Error ? error.message : String(error)
    if (error instanceof TimeoutError)
      return new UpstreamError('TIMED_OUT', upstream, message, { cause: error })
    if (error instanceof RequestError && error.code === addressRefused) return this.#refused(message)
    return new UpstreamError('UNREACHABLE', upstream, message, { cause: error })
  }

  #invalid(message: string): UpstreamError {
    return new UpstreamError('INVALID_RESPONSE', this.#options.upstream, message)
  }

  #refused(what: string): UpstreamError {
    return new UpstreamError('REFUSED', this.#options.upstream, `refused to follow: ${what}`)
  }
}

/**
 * Reads a small body whole. Throws UpstreamError INVALID_RESPONSE where it passes `limit` bytes; no more than
 * that is read.
 */
export async function readBody(
  response: TransportResponse,
  upstream: string,
  limit: number,
): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response.body()) {
    size += chunk.length
    if (size > limit) {
      throw new UpstreamError('INVALID_RESPONSE', upstream, `an answer of more than ${limit} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function withoutCredentials<Value>(headers: Readonly<Record<string, Value>>): Record<string, Value> {
  const secret = /^(?:authorization|cookie|proxy-authorization)$/i
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !secret.test(name)))
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '')
}

function proxyHosts(environment: NodeJS.ProcessEnv): string[] {
  return Object.entries(environment).flatMap(([name, value]) =>
    /^https?_proxy$/i.test(name) && value && URL.canParse(value) ? [hostOf(new URL(value))] : [],
  )
}
