import type { IncomingHttpHeaders, IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { Digest } from '../../src/oci/digest.ts'
import { ContentSender } from './hub-content-sender.ts'
import type { FaultBook, HubCaller, HubListener } from './hub-faults.ts'
import type { TestBlob } from './images.ts'

/** One request that a look-alike received. */
export type HubRequest = {
  readonly listener: HubListener
  readonly method: string
  /** Path and query, as sent. */
  readonly url: string
  readonly headers: IncomingHttpHeaders
  /** The digest in the path. */
  readonly digest: string | undefined
  /** By the login or the token that it brings; who brings none is anyone. */
  readonly caller: HubCaller
  /** 0 until the headers of the response are sent. */
  status: number
  /** Bytes of content (a manifest, a blob) handed to the kernel. */
  bytesSent: number
  /** Whether the response, or its connection, has ended. */
  ended: boolean
}

/** Content to answer with: a blob, and the headers that describe it. */
export type Content = {
  readonly blob: TestBlob
  readonly headers: OutgoingHttpHeaders
  /** Whether ranges are supported. */
  readonly ranges: boolean
  /** Called with the bytes that were handed to the kernel. */
  readonly onSent: (digest: Digest, bytes: number) => void
}

/** One request and its response, with the faults that they are due. */
export class Exchange {
  readonly record: HubRequest
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Resolves when the response has ended or its connection is gone. */
  readonly closed: Promise<void>
  readonly #faults: FaultBook
  readonly #headers: OutgoingHttpHeaders
  #extraHeaders: OutgoingHttpHeaders = {}

  constructor(
    listener: HubListener,
    request: IncomingMessage,
    response: ServerResponse,
    faults: FaultBook,
    headers: OutgoingHttpHeaders,
  ) {
    this.request = request
    this.response = response
    this.#faults = faults
    this.#headers = headers
    const { method = 'GET', url = '/' } = request
    const digest = digestIn(url)
    const none = { status: 0, bytesSent: 0, ended: false }
    const caller = callerOf(request.headers.authorization)
    this.record = { listener, method, url, headers: request.headers, digest, caller, ...none }
    this.closed = new Promise((resolve) => {
      response.once('close', () => {
        this.record.ended = true
        resolve()
      })
    })
  }

  /** Waits at the gates before the headers; then applies the faults that replace the whole response. */
  async admit(): Promise<boolean> {
    for (const gate of this.#faults.gates(this.record, 'request')) await gate.pass(this.closed)
    if (this.response.destroyed) return false
    const fault = this.#faults.take(this.record, 'request')
    this.#extraHeaders = (fault.headers ?? {}) as OutgoingHttpHeaders
    if (fault.stallBeforeHeaders) return false
    if (fault.realm !== undefined || fault.challenges !== undefined) {
      const own = `Bearer realm="${fault.realm}",service="registry.docker.io",scope="repository:any:pull"`
      this.sendError(401, 'UNAUTHORIZED', 'authentication required', {
        'WWW-Authenticate': [...(fault.challenges ?? [own])],
      })
      return false
    }
    if (fault.redirectLoop || fault.redirectTo !== undefined) {
      this.send(307, { Location: fault.redirectTo ?? this.record.url })
      return false
    }
    if (fault.status === undefined) return true
    const retry = fault.retryAfter === undefined ? {} : { 'Retry-After': String(fault.retryAfter) }
    if (fault.body === undefined && fault.status < 500) {
      const code =
        errorCodes[fault.status] ?? (this.record.url.includes('/blobs/') ? 'BLOB_UNKNOWN' : 'UNKNOWN')
      this.sendError(fault.status, code, `injected ${fault.status}`, retry)
    } else {
      const page = fault.body ?? `<html><body><h1>${fault.status} Bad Day</h1></body></html>`
      this.send(fault.status, { 'Content-Type': 'text/html', ...retry }, page)
    }
    return false
  }

  /** Answers with a small body that is no content, or none. */
  send(status: number, headers: OutgoingHttpHeaders, body = ''): void {
    this.writeHead(status, { 'Content-Length': Buffer.byteLength(body), ...headers })
    this.response.end(this.record.method === 'HEAD' ? undefined : body)
  }

  sendJson(status: number, value: unknown, headers: OutgoingHttpHeaders = {}): void {
    this.send(status, { 'Content-Type': 'application/json', ...headers }, JSON.stringify(value))
  }

  /** Answers with the errors document of the distribution-spec ("Error Codes"). */
  sendError(status: number, code: string, message: string, headers: OutgoingHttpHeaders = {}): void {
    this.sendJson(status, { errors: [{ code, message, detail: null }] }, headers)
  }

  /** Answers with content, or with a range of it, as the faults will have it. */
  async sendContent(content: Content): Promise<void> {
    const fault = this.#faults.take(this.record, 'content')
    this.#extraHeaders = { ...this.#extraHeaders, ...(fault.headers as OutgoingHttpHeaders | undefined) }
    const gates = this.#faults.gates(this.record, 'content')
    await new ContentSender(this, content, fault, gates).send()
  }

  /** Sends the status and the headers, with those that the listener and the faults add. */
  writeHead(status: number, headers: OutgoingHttpHeaders): void {
    this.record.status = status
    for (const group of [this.#headers, headers, this.#extraHeaders]) {
      for (const [name, value] of Object.entries(group)) {
        if (value !== undefined) this.response.setHeader(name, value)
      }
    }
    this.response.writeHead(status)
  }
}

const errorCodes: Readonly<Record<number, string>> = {
  401: 'UNAUTHORIZED',
  403: 'DENIED',
  429: 'TOOMANYREQUESTS',
}

/** Basic credentials are an account's; a token names its account in `sub`. */
function callerOf(authorization: string | undefined): HubCaller {
  const [scheme = '', value = ''] = (authorization ?? '').split(' ')
  if (/^basic$/i.test(scheme)) return 'account'
  const payload = value.split('.')[1]
  if (payload === undefined) return 'anyone'
  return JSON.parse(Buffer.from(payload, 'base64url').toString()).sub === '' ? 'anyone' : 'account'
}

function digestIn(url: string): string | undefined {
  const atRegistry = /\/((?:sha256|sha512):[0-9a-f]+)(?:[?/]|$)/.exec(url)?.[1]
  const atCdn = /\/(sha256|sha512)\/[0-9a-f]{2}\/([0-9a-f]+)\/data/.exec(url)
  return atRegistry ?? (atCdn ? `${atCdn[1]}:${atCdn[2]}` : undefined)
}
