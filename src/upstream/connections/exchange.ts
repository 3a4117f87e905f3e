import { once } from 'node:events'
import http, { type IncomingHttpHeaders } from 'node:http'
import https from 'node:https'
import { pipeline } from 'node:stream/promises'
import { checkServerIdentity } from 'node:tls'
import got, { type Request, RequestError, TimeoutError } from 'got'
import { Pulse } from '../../flow/pulse.ts'
import { UpstreamError } from '../error.ts'
import type { Agents, ConnectionOptions } from './agents.ts'
import { Arrivals } from './arrivals.ts'
import { connectionFailure } from './connection-failure.ts'
import type { ForwardProxy } from './proxy-settings.ts'

export interface ExchangeOptions {
  /** The upstream's name, for errors. */
  readonly upstream: string
  readonly method: 'GET' | 'HEAD'
  readonly url: URL
  readonly headers: Readonly<Record<string, string | string[]>>
  readonly agents: Agents
  /** The proxy on the way, which has to be told the whole URL where it is at http. */
  readonly proxy: ForwardProxy | undefined
  /** Whether the origin has answered in plain http before. */
  readonly isKnown: boolean
  /** Milliseconds without a byte after which it is given up. */
  readonly stallMs: number
  readonly signal: AbortSignal | undefined
  /** Waits until so many bytes of the body may come; they are not asked for before. */
  readonly pace: ((bytes: number) => Promise<void>) | undefined
  /** Beats when the connection is made, step by step, and when the answer begins. */
  readonly pulse: Pulse | undefined
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

/** Milliseconds in which an answer that nobody needs more of may end by itself. */
const lingerMs = 500
/** Bytes of an unwanted answer that are read; more cost more than a new connection. */
const drainBytes = 16 * 1024
/** Milliseconds for an answer that is read whole: 4 MiB at 64 kbit/s. One that trickles must end somewhere. */
const maximumReadMs = 600_000

/** One request and its answer, over one connection. */
export class Exchange {
  readonly #options: ExchangeOptions
  #sent: http.ClientRequest | undefined
  #stream: Request | undefined
  #hasAnswer = false

  constructor(options: ExchangeOptions) {
    this.#options = options
  }

  /**
   * Whether it went out on a connection that had served before and got not a byte of an answer: that says nothing about the
   * other end, only that a router or a balancer on the way has forgotten the connection.
   */
  get wasStale(): boolean {
    return this.#sent?.reusedSocket === true && !this.#hasAnswer
  }

  /** Ends a request whose answer nobody wants any more; `response` may then never settle. */
  cancel(): void {
    this.#stream?.destroy()
  }

  /** Sends the request; to be called once. Throws UpstreamError, or the reason of the signal. */
  async response(): Promise<TransportResponse> {
    const { url, method, headers, signal, agents, stallMs, pulse } = this.#options
    const stream = got.stream(url, {
      method,
      headers,
      agent: { http: agents.http, https: agents.https },
      request: (target: URL, settings: http.RequestOptions) => this.#send(target, settings),
      ...(signal ? { signal } : {}),
      followRedirect: false,
      throwHttpErrors: false,
      decompress: false,
      retry: { limit: 0 },
      timeout: { response: stallMs },
    })
    this.#stream = stream
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
    pulse?.beat()
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      url,
      ...this.#body(stream),
      discard: () => void this.#drain(stream, method === 'HEAD' ? 0 : response.headers['content-length']),
    }
  }

  #send(url: URL, settings: http.RequestOptions): http.ClientRequest {
    const { proxy, pulse } = this.#options
    const { request } = url.protocol === 'https:' ? https : http
    // Got brings its own function, which would keep TLS sessions from being used again.
    const own: ConnectionOptions & https.RequestOptions = {
      ...settings,
      pulse,
      checkServerIdentity,
    }
    if (proxy && url.protocol === 'http:') {
      own.path = `${url.origin}${url.pathname}${url.search}`
      if (proxy.authorization !== undefined) {
        own.headers = { ...(own.headers as object), 'proxy-authorization': proxy.authorization }
      }
    }
    const sent = request(url, own)
    this.#sent = sent
    sent.once('response', () => {
      this.#hasAnswer = true
    })
    sent.once('socket', (socket) => {
      if (!sent.reusedSocket) return
      const onBytes = (): void => {
        this.#hasAnswer = true
      }
      socket.once('data', onBytes)
      sent.once('close', () => socket.off('data', onBytes))
    })
    return sent
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
  #body(stream: Request): Pick<TransportResponse, 'body' | 'stop'> {
    const { stallMs, upstream, signal, pace } = this.#options
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
          arrivals.wake()
        },
        (error: unknown) => {
          end = { error }
          arrivals.wake()
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
          // Not a race with `ended`: each would leave a little at a promise that lives as long as the blob.
          await arrivals.arrival()
          clearTimeout(watchdog)
        }
      } finally {
        // Whoever has all that was wanted leaves before the end is read; a moment later the connection can serve
        // again. One that sends on is closed.
        arrivals.leave()
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
    const { upstream, url, stallMs, isKnown } = this.#options
    if (error instanceof TimeoutError) {
      return new UpstreamError('TIMED_OUT', upstream, `no answer within ${stallMs / 1000} s`, {
        cause: error,
      })
    }
    // Got wraps what its stream is destroyed with, and what Node says.
    const cause = error instanceof RequestError && error.cause instanceof Error ? error.cause : error
    const heard = this.#hasAnswer ? 'begun' : isKnown ? 'before' : 'never'
    return connectionFailure(cause, upstream, url, heard)
  }

  #invalid(message: string): UpstreamError {
    return new UpstreamError('INVALID_RESPONSE', this.#options.upstream, message)
  }
}

/** Bytes after which a body that is read whole counts as large. */
const largeBytes = 128 * 1024

export interface ReadOptions {
  /** Waits until an answer that turns out to be large may come to its end. */
  readonly onLarge?: (() => Promise<void>) | undefined
  /** Milliseconds that the whole body may take. */
  readonly readMs?: number | undefined
}

/**
 * Reads a small body whole; one that turns out to be large waits for `onLarge` in the middle. Throws UpstreamError INVALID_RESPONSE where it passes `limit` bytes, TIMED_OUT where it
 * takes for ever; no more than that is read.
 */
export async function readBody(
  response: TransportResponse,
  upstream: string,
  limit: number,
  { onLarge, readMs = maximumReadMs }: ReadOptions = {},
): Promise<Buffer> {
  const startedAt = performance.now()
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response.body()) {
    Pulse.current?.beat(chunk.length)
    size += chunk.length
    if (size > limit) {
      throw new UpstreamError('INVALID_RESPONSE', upstream, `an answer of more than ${limit} bytes`)
    }
    if (performance.now() - startedAt > readMs) {
      throw new UpstreamError('TIMED_OUT', upstream, `an answer that takes longer than ${readMs / 1000} s`)
    }
    chunks.push(chunk)
    if (size > largeBytes && size - chunk.length <= largeBytes) await onLarge?.()
  }
  return Buffer.concat(chunks)
}
