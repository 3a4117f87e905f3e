import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import { Occasionally } from '../flow/occasionally.ts'
import { RegistryError } from '../oci/error.ts'
import type { Ledger } from '../registry/ledger.ts'
import { UpstreamError } from '../upstream/error.ts'
import { isUnexpected } from './errors.ts'
import { type Forwarding, forwardedFor } from './forwarding.ts'
import type { Metrics } from './metrics.ts'
import { RequestContext, type Subject } from './request-context.ts'

export interface RequestLogOptions {
  readonly logger: Logger
  readonly metrics: Metrics
  readonly ledger: Ledger
  readonly forwarding: Forwarding
}

/** Milliseconds in which an upstream's trouble is a warning once; every failed pull is in the log all the same. */
const warnEveryMs = 60_000

/** What clients of a registry ask for, also at a wrong place such as `/docker.io/v2/...`; search; tokens. */
const isOfClients = /^[^?]*\/(?:v2(?:[/?]|$)|v1\/|token(?:\?|$))/

const contextKey = Symbol('context')
type Known = IncomingMessage & { [contextKey]?: RequestContext }

/**
 * One line, one count and one entry in the ledger for each request below `/v2/`, however it ends. That an answer
 * which waits behind another one on its connection (pipelining) hears of the connection's end is not promised by
 * Node; so each socket has one listener for all its requests.
 */
export class RequestLog {
  readonly #options: RequestLogOptions
  readonly #sockets = new Map<Socket, Set<RequestContext>>()
  readonly #bounds = new Occasionally()
  readonly #warnedAt = new Map<string, number>()
  #isProxyTold = false

  constructor(options: RequestLogOptions) {
    this.#options = options
  }

  /** Requests under way. */
  get openCount(): number {
    let count = 0
    for (const contexts of this.#sockets.values()) count += contexts.size
    return count
  }

  /** The context of a request, begun here where it is not yet. That of another path is looked at by nobody. */
  of(request: IncomingMessage, response: ServerResponse): RequestContext {
    const known = request as Known
    known[contextKey] ??= isOfClients.test(request.url ?? '')
      ? this.#begin(request, response)
      : new RequestContext(request, response, this.#options.forwarding)
    return known[contextKey]
  }

  /** Tells what a request is about, as soon as that is known. */
  about(context: RequestContext, subject: Subject): void {
    context.subject = subject
    const { kind, upstream, repository, reference } = subject
    const isPull = context.method === 'GET' || context.method === 'HEAD'
    if (!isPull || reference === undefined || (kind !== 'manifest' && kind !== 'blob')) return
    context.attendance = this.#options.ledger.asked({
      client: context.client,
      agent: context.request.headers['user-agent'],
      upstream,
      repository,
      kind,
      reference,
      isHead: context.method === 'HEAD',
      at: context.startedAt,
    })
    // It may have left before we knew what it wanted.
    if (context.ending !== undefined) this.#settle(context)
  }

  /** Says of all requests under way that it is we who end them, just before their connections are destroyed. */
  breakOff(reason: string): void {
    for (const contexts of this.#sockets.values()) for (const context of contexts) context.breakOff(reason)
  }

  #begin(request: IncomingMessage, response: ServerResponse): RequestContext {
    const context = new RequestContext(request, response, this.#options.forwarding)
    this.#warnOfProxy(context)
    const { socket } = request
    let contexts = this.#sockets.get(socket)
    if (!contexts) {
      contexts = new Set()
      this.#sockets.set(socket, contexts)
      socket.once('close', () => this.#closed(socket))
    }
    contexts.add(context)
    response.once('close', () => {
      this.#sockets.get(socket)?.delete(context)
      this.#end(context)
    })
    if (socket.closed) setImmediate(() => this.#closed(socket))
    return context
  }

  #closed(socket: Socket): void {
    const left = this.#sockets.get(socket) ?? []
    this.#sockets.delete(socket)
    for (const context of left) this.#end(context)
  }

  #end(context: RequestContext): void {
    if (!context.end()) return
    const { logger, metrics } = this.#options
    const {
      request,
      method,
      kind,
      subject,
      cache,
      status,
      durationMs,
      client,
      user,
      ending,
      sentBytes: bytes,
    } = context
    const { url = '' } = request
    const asksFor = context.origin.by === 'told' ? undefined : forwardedFor(request)
    metrics.count({
      method,
      kind,
      upstream: subject?.upstream ?? '',
      status,
      cache: cache ?? '',
      bytes: status < 300 ? bytes : 0,
      seconds: durationMs / 1000,
    })
    const fields = {
      method,
      url,
      status,
      kind,
      ...(subject && { upstream: subject.upstream, repository: subject.repository }),
      ...(subject?.reference !== undefined && { reference: subject.reference }),
      ...(cache !== undefined && { cache }),
      bytes,
      ...(context.receivedBytes > 0 && { received: context.receivedBytes }),
      ended: ending,
      ...troubleOf(context),
      ms: Math.round(durationMs),
      client,
      ...(user !== undefined && { user }),
      ...(asksFor !== undefined && { forwardedFor: asksFor }),
      agent: request.headers['user-agent'],
    }
    logger[this.#levelOf(context)](fields, 'request')
    this.#warnOfBound(context)
    this.#settle(context)
  }

  /** Its line is `info` as that of any mistake, and whoever runs this may want another bound. */
  #warnOfBound({ error, client, clientKey }: RequestContext): void {
    if (!(error instanceof RegistryError && error.status === 429)) return
    const { message } = error
    this.#bounds.do(`${clientKey} ${message}`, () =>
      this.#options.logger.warn({ client, reason: message }, 'a client takes more than one may have'),
    )
  }

  /** Once: it is a setting that is missing, or a client that plays with us. */
  #warnOfProxy({ request, client }: RequestContext): void {
    const { forwarding, logger } = this.#options
    const header = this.#isProxyTold ? undefined : forwarding.unheededHeader(request)
    if (header === undefined) return
    this.#isProxyTold = true
    logger.warn(
      { client, header },
      'a web server says that it asks for somebody else, and is not believed: put its address into server.trustProxy, or all who come through it count as one client, and none of them can push without a login',
    )
  }

  #settle(context: RequestContext): void {
    const { attendance, status, cache, isAhead, manifest, blob, ending = 'left' } = context
    attendance?.answered({
      at: context.startedAt + context.durationMs,
      status,
      ending,
      cache,
      isAhead,
      bytes: context.sentBytes,
      pendingBytes: context.pendingBytes,
      manifest,
      blob,
      reason: context.reason,
    })
  }

  /** A client's mistake and its leaving are everyday; an upstream's trouble is told once in a while; ours always. */
  #levelOf({ ending, error, status }: RequestContext): 'info' | 'warn' | 'error' {
    if (ending === 'broken') return 'warn'
    if (ending === 'left' || error === undefined) return 'info'
    if (isUnexpected(error)) return 'error'
    return error instanceof UpstreamError && status >= 500 ? this.#levelOfTrouble(error) : 'info'
  }

  #levelOfTrouble({ upstream, code }: UpstreamError): 'info' | 'warn' {
    const key = `${upstream} ${code}`
    const now = performance.now()
    if (now - (this.#warnedAt.get(key) ?? Number.NEGATIVE_INFINITY) < warnEveryMs) return 'info'
    this.#warnedAt.set(key, now)
    return 'warn'
  }
}

/** What went wrong. A client that left is nothing wrong; what broke a body off, the fill tells with its stack. */
function troubleOf({ ending, error, refusal, reason }: RequestContext): object {
  if (ending === 'left') return {}
  if (ending === 'complete' && error instanceof Error && isUnexpected(error)) return { err: error }
  const told = ending === 'broken' ? reason : refusal
  return told === undefined ? {} : { error: told }
}
