import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import type { Ledger } from '../registry/ledger.ts'
import { UpstreamError } from '../upstream/error.ts'
import { isUnexpected } from './errors.ts'
import type { Metrics } from './metrics.ts'
import { parseRegistryUrl, type RegistryTarget } from './name-routing.ts'
import { RequestRecord, type Subject } from './request-record.ts'

export interface RequestLogOptions {
  readonly logger: Logger
  readonly metrics: Metrics
  readonly ledger: Ledger
}

/** Milliseconds in which an upstream's trouble is a warning once; every failed pull is in the log all the same. */
const warnEveryMs = 60_000

/** Also what asks for a registry's paths at a wrong place, such as `/docker.io/v2/...`. */
const holdsV2 = /^[^?]*\/v2(?:[/?]|$)/

const recordKey = Symbol('record')
type Recorded = IncomingMessage & { [recordKey]?: RequestRecord }

/**
 * One line, one count and one entry in the ledger for each request below `/v2/`, however it ends. That an answer
 * which waits behind another one on its connection (pipelining) hears of the connection's end is not promised by
 * Node; so each socket has one listener for all its requests.
 */
export class RequestLog {
  readonly #options: RequestLogOptions
  readonly #sockets = new Map<Socket, Set<RequestRecord>>()
  readonly #warnedAt = new Map<string, number>()

  constructor(options: RequestLogOptions) {
    this.#options = options
  }

  /** Requests under way. */
  get openCount(): number {
    let count = 0
    for (const records of this.#sockets.values()) count += records.size
    return count
  }

  /** Records every request below `/v2/` from before anything else looks at it. */
  around(next: RequestListener): RequestListener {
    return (request, response) => {
      this.of(request, response)
      next(request, response)
    }
  }

  /** The record of a request, begun here where it is not yet. That of another path is looked at by nobody. */
  of(request: IncomingMessage, response: ServerResponse): RequestRecord {
    const recorded = request as Recorded
    recorded[recordKey] ??= holdsV2.test(request.url ?? '')
      ? this.#begin(request, response)
      : new RequestRecord(request, response)
    return recorded[recordKey]
  }

  /** Tells what a request is about, as soon as that is known. */
  about(record: RequestRecord, subject: Subject): void {
    record.subject = subject
    const { kind, upstream, repository, reference } = subject
    if (reference === undefined || (kind !== 'manifest' && kind !== 'blob')) return
    record.attendance = this.#options.ledger.asked({
      client: record.client,
      agent: record.request.headers['user-agent'],
      upstream,
      repository,
      kind,
      reference,
      isHead: record.request.method === 'HEAD',
      at: record.startedAt,
    })
    // It may have left before we knew what it wanted.
    if (record.ending !== undefined) this.#settle(record)
  }

  /** Says of all requests under way that it is we who end them, just before their connections are destroyed. */
  breakOff(reason: string): void {
    for (const records of this.#sockets.values()) for (const record of records) record.breakOff(reason)
  }

  #begin(request: IncomingMessage, response: ServerResponse): RequestRecord {
    const record = new RequestRecord(request, response)
    const { socket } = request
    let records = this.#sockets.get(socket)
    if (!records) {
      records = new Set()
      this.#sockets.set(socket, records)
      socket.once('close', () => this.#closed(socket))
    }
    records.add(record)
    response.once('close', () => {
      this.#sockets.get(socket)?.delete(record)
      this.#end(record)
    })
    if (socket.closed) setImmediate(() => this.#closed(socket))
    return record
  }

  #closed(socket: Socket): void {
    const left = this.#sockets.get(socket) ?? []
    this.#sockets.delete(socket)
    for (const record of left) this.#end(record)
  }

  #end(record: RequestRecord): void {
    if (!record.end()) return
    const { logger, metrics } = this.#options
    const { request, subject, cache, status, durationMs, client, ending, sentBytes: bytes } = record
    const { method = '', url = '' } = request
    const kind = subject?.kind ?? kindOf(url)
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
      ended: ending,
      ...troubleOf(record),
      ms: Math.round(durationMs),
      client,
      agent: request.headers['user-agent'],
    }
    logger[this.#levelOf(record)](fields, 'request')
    this.#settle(record)
  }

  #settle(record: RequestRecord): void {
    const { attendance, status, cache, manifest, blob, ending = 'left' } = record
    attendance?.answered({
      at: record.startedAt + record.durationMs,
      status,
      ending,
      cache,
      bytes: record.sentBytes,
      pendingBytes: record.pendingBytes,
      manifest,
      blob,
      reason: record.reason,
    })
  }

  /** A client's mistake and its leaving are everyday; an upstream's trouble is told once in a while; ours always. */
  #levelOf({ ending, error, status }: RequestRecord): 'info' | 'warn' | 'error' {
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
function troubleOf({ ending, error, refusal, reason }: RequestRecord): object {
  if (ending === 'left') return {}
  if (ending === 'complete' && error instanceof Error && isUnexpected(error)) return { err: error }
  const told = ending === 'broken' ? reason : refusal
  return told === undefined ? {} : { error: told }
}

function kindOf(url: string): RegistryTarget['kind'] {
  try {
    return parseRegistryUrl(url).target.kind
  } catch {
    return 'unknown'
  }
}
