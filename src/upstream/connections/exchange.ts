import http, { type IncomingHttpHeaders } from 'node:http'
import https from 'node:https'
import { checkServerIdentity } from 'node:tls'
import got, { type Request, RequestError, TimeoutError } from 'got'
import type { LentBytes } from '../../flow/lent-bytes.ts'
import type { Pieces } from '../../flow/pieces.ts'
import type { Pulse } from '../../flow/pulse.ts'
import { UpstreamError } from '../error.ts'
import type { Agents, ConnectionOptions } from './agents.ts'
import { Arrivals } from './arrivals.ts'
import { type BodyOptions, type BodySource, readSource } from './body-source.ts'
import { connectionFailure } from './connection-failure.ts'
import { CopiedArrivals } from './copied-arrivals.ts'
import { DivertedBody, divertedLength } from './diverted-body.ts'
import { freeChunk } from './free-chunk.ts'
import { keptMs } from './kept-ms.ts'
import type { ForwardProxy } from './proxy-settings.ts'
import type { RoundTrips } from './round-trips.ts'
import { StreamedBody } from './streamed-body.ts'
import { type TakenAnswer, takeOver } from './takeover.ts'

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
  readonly roundTrips: RoundTrips
  /** Milliseconds without a byte after which it is given up. */
  readonly stallMs: number
  readonly signal: AbortSignal | undefined
  /** Waits until so many bytes of the body may come; they are not asked for before. */
  readonly pace: ((bytes: number) => Promise<void>) | undefined
  /** Whether the body is to be read by `lent`. */
  readonly isLent: boolean
  /** Where what is lent of it lies. */
  readonly pieces: Pieces
  /** Beats when the connection is made, step by step, and when the answer begins. */
  readonly pulse: Pulse | undefined
}

/** An answer whose body is read by `body` or `lent`, or dropped by `discard`, exactly once. */
export interface TransportResponse {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly url: URL
  /** The bytes as they arrive. Throws UpstreamError TIMED_OUT on a stall, UNREACHABLE when cut. */
  body(): AsyncGenerator<Buffer, void, undefined>
  /** The same in memory that is used again: each lent until the next is asked for. */
  lent(): AsyncGenerator<LentBytes, void, undefined>
  /** Ends the connection; the body ends without an error after what has arrived. */
  stop(): void
  /** Lets go of an answer whose body nobody reads. */
  discard(): void
}

/** One request and its answer, over one connection. */
export class Exchange {
  readonly #options: ExchangeOptions
  #sent: http.ClientRequest | undefined
  #stream: Request | undefined
  #diverted: { readonly head: http.IncomingMessage; readonly body: DivertedBody } | undefined
  #hasAnswer = false
  #sentAt = 0

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
    const { promise, resolve, reject } = Promise.withResolvers<TransportResponse>()
    stream.once('response', (response: http.IncomingMessage) => resolve(this.#streamed(response, stream)))
    stream.once('upgrade', () => {
      if (this.#diverted) resolve(this.#taken(this.#diverted))
      else stream.destroy(this.#invalid('it wants to speak another protocol'))
    })
    // An error after the answer reaches whoever reads the body; where nobody does, it must not end the process. It
    // may come in the same packet as the answer, before anybody can read.
    stream.on('error', reject)
    try {
      const response = await promise
      pulse?.beat()
      return response
    } catch (error) {
      signal?.throwIfAborted()
      throw this.#translate(error)
    } finally {
      // It knows nothing of a body that was taken from it, and the connection is no longer its own.
      if (this.#diverted) stream.destroy()
    }
  }

  #streamed({ statusCode, headers }: http.IncomingMessage, stream: Request): TransportResponse {
    const { method, url, pieces, pace, stallMs } = this.#options
    const body = new StreamedBody(stream)
    const length = method === 'HEAD' ? '0' : headers['content-length']
    return {
      status: statusCode ?? 0,
      headers,
      url,
      body: () => readSource(body.into(new Arrivals()), this.#reading),
      lent: () => this.#lent(body.into(new CopiedArrivals({ pieces, pace }))),
      stop: () => body.stop(),
      discard: () => void body.drain(length, stallMs),
    }
  }

  #taken({
    head: { statusCode, headers },
    body,
  }: {
    head: http.IncomingMessage
    body: DivertedBody
  }): TransportResponse {
    return {
      status: statusCode ?? 0,
      headers,
      url: this.#options.url,
      body: () => copied(this.#lent(body)),
      lent: () => this.#lent(body),
      stop: () => body.stop(),
      discard: () => body.leave(),
    }
  }

  async *#lent(source: BodySource<LentBytes>): AsyncGenerator<LentBytes, void, undefined> {
    for await (const piece of readSource(source, this.#reading)) {
      using lent = piece
      yield lent
    }
  }

  get #reading(): BodyOptions {
    const { upstream, stallMs, signal } = this.#options
    return { upstream, stallMs, signal, translate: (error) => this.#translate(error) }
  }

  #send(url: URL, settings: http.RequestOptions): http.ClientRequest {
    const { proxy, pulse } = this.#options
    const { request } = url.protocol === 'https:' ? https : http
    // Got brings its own function, which would keep TLS sessions from being used again.
    const own: ConnectionOptions & https.RequestOptions = {
      ...settings,
      pulse,
      onReuse: () => {
        sent.reusedSocket = true
      },
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
    sent.once('response', () => this.#answered())
    sent.once('socket', (socket) => {
      this.#sentAt = performance.now()
      if (!sent.reusedSocket) return
      const onBytes = (): void => {
        this.#hasAnswer = true
      }
      socket.once('data', onBytes)
      sent.once('close', () => socket.off('data', onBytes))
    })
    if (this.#options.isLent) this.#prepareLending(sent)
    return sent
  }

  /** The head of the answer is here. */
  #answered(): void {
    this.#hasAnswer = true
    const { roundTrips, url } = this.#options
    roundTrips.noteAnswer(url.origin, performance.now() - this.#sentAt)
  }

  /** Before it has a socket. */
  #prepareLending(sent: http.ClientRequest): void {
    const { tapped } = this.#options.agents
    takeOver(sent, {
      isWanted: (response) =>
        divertedLength(response) !== undefined && tapped.tapOf(sent.socket)?.isGivingOut === true,
      onTaken: (answer) => this.#divert(answer),
    })
    sent.once('socket', (socket) => {
      if (tapped.tapOf(socket)) return
      // Behind the parser, which has copied what it keeps.
      socket.on('data', freeChunk)
      sent.once('close', () => socket.off('data', freeChunk))
    })
  }

  #divert({ response, socket, head, staysOpen }: TakenAnswer): void {
    const { agents, pieces, signal, pace } = this.#options
    const { tapped } = agents
    const length = divertedLength(response)
    const tap = tapped.tapOf(socket)
    if (length === undefined || !tap) return
    this.#answered()
    tapped.take(socket)
    const forMs = staysOpen ? keptMs(response.headers['keep-alive']) : 0
    const onFree = (): void => tapped.giveBack(socket, forMs)
    const body = new DivertedBody({ socket, tap, length, head, staysOpen, pieces, signal, pace, onFree })
    this.#diverted = { head: response, body }
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

async function* copied(body: AsyncIterable<LentBytes>): AsyncGenerator<Buffer, void, undefined> {
  for await (const { bytes } of body) yield Buffer.from(bytes)
}
