import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Origin } from '../access/origin.ts'
import type { Attendance } from '../registry/ledger.ts'
import type { CacheStatus } from '../registry/repository.ts'
import { clientAddress, clientKey } from './client-address.ts'
import { Forwarding, type Told } from './forwarding.ts'
import type { PublicAddress } from './public-address.ts'
import { hasBody } from './receive-blob.ts'
import { isRegistryUrl, parseRegistryUrl, type RegistryTarget, type RegistryUrl } from './registry-url.ts'

/** How a request ended: sent whole; the client left before; or we broke it off. */
export type Ending = 'complete' | 'left' | 'broken'

/** What a request turned out to be about, once its repository was found. */
export interface Subject {
  readonly kind: RegistryTarget['kind']
  /** The upstream's name, or "local" for what was pushed here. */
  readonly upstream: string
  /** As it is called there. */
  readonly repository: string
  /** A tag or a digest; undefined for what is about the repository as a whole. */
  readonly reference: string | undefined
  /** What else is to be said where its upstream does not answer. */
  readonly note?: string | undefined
}

/** The status that is recorded where no answer was begun, as nginx has it: the client was gone before. */
const noAnswer = 499

/**
 * One request from its first moment, before anything was waited for, to its end, which comes exactly once: when the
 * answer was sent, or the connection closed under it. What it asks for and who asks is read here, once; those who
 * answer fill in the rest; `RequestLog` reads it at the end.
 */
export class RequestContext {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Whether it is one for a registry; else it has no `url`. */
  readonly isForRegistry: boolean
  /** Milliseconds, of `performance.now()`. */
  readonly startedAt = performance.now()
  /** From where it comes: nothing that is allowed by address looks anywhere else. */
  readonly origin: Origin
  readonly client: string
  /** For whom a bound by client counts it. */
  readonly clientKey: string
  /** Who has logged in; nobody else's name is kept. */
  user: string | undefined
  subject: Subject | undefined
  /** How the request stands in the ledger of pulls, where it is of one. */
  attendance: Attendance | undefined
  cache: CacheStatus | undefined
  /** Whether what was asked for came over the line for this client before. */
  isAhead = false
  /** The manifest that was answered with, also to a HEAD. */
  manifest: { readonly digest: string; readonly mediaType: string; readonly bytes: Uint8Array } | undefined
  /** The whole size of a blob in bytes, and the position at which the body begins; undefined: it has several parts of it. */
  blob: { readonly size: number; readonly start: number | undefined } | undefined
  /** Bytes of the body. A pump counts them as it hands them to the socket; what is sent at once is told before. */
  bytes = 0
  pendingBytes = 0
  /** Bytes of the body that the client sent, as they were taken. */
  receivedBytes = 0
  /** Why the answer is an error; set with what the client was told. */
  error: unknown
  /** `CODE: message`, as the client was told. */
  refusal: string | undefined
  #ending: Ending | undefined
  #brokenBecause: unknown
  #endedAt = 0
  #gone: AbortController | undefined
  #isBodyHeld: boolean
  readonly #url: RegistryUrl | undefined
  readonly #unreadable: unknown
  readonly #forwarding: Forwarding
  readonly #told: Told | undefined

  /** `forwarding`: which proxies are believed; nobody, without it. */
  constructor(request: IncomingMessage, response: ServerResponse, forwarding: Forwarding = new Forwarding()) {
    this.request = request
    this.response = response
    this.#forwarding = forwarding
    this.#told = forwarding.told(request)
    this.origin = forwarding.originOf(request, this.#told)
    const remoteAddress = this.origin.address
    this.client = clientAddress({ remoteAddress })
    this.clientKey = clientKey({ remoteAddress })
    this.#isBodyHeld = hasBody(request) && expectsContinue(request)
    const { url = '' } = request
    this.isForRegistry = isRegistryUrl(url)
    try {
      this.#url = this.isForRegistry ? parseRegistryUrl(url) : undefined
    } catch (error) {
      this.#unreadable = error
    }
  }

  get method(): string {
    return this.request.method ?? ''
  }

  /** What it asks for. Throws as `parseRegistryUrl`, and TypeError where it is none for a registry. */
  get url(): RegistryUrl {
    if (this.#url) return this.#url
    throw this.#unreadable ?? new TypeError('this is no request for a registry')
  }

  /** What a Location, a Link or a realm in the answer begins with. */
  get publicAddress(): PublicAddress {
    return this.#forwarding.publicAddressOf(this.request, this.#told)
  }

  /** The host that the client wrote, as it or a trusted proxy says. */
  get host(): string | undefined {
    return this.#told?.host ?? this.request.headers.host
  }

  /** What kind of thing it asks for, as far as its URL can be read. */
  get kind(): RegistryTarget['kind'] {
    return this.#url?.target.kind ?? 'unknown'
  }

  /** Whether the client keeps the body until it is told that somebody wants it (RFC 9110 10.1.1, 100 Continue). */
  get isBodyHeld(): boolean {
    return this.#isBodyHeld
  }

  /** Tells it so, where it waits for that: what is refused by its headers alone is not sent in vain. */
  wantBody(): void {
    if (this.#isBodyHeld) this.response.writeContinue()
    this.#isBodyHeld = false
  }

  /** Aborts when the client is gone before the answer was sent whole. */
  get signal(): AbortSignal {
    if (!this.#gone) {
      this.#gone = new AbortController()
      this.#abortIfGone()
    }
    return this.#gone.signal
  }

  /** Who asks: what every question to a repository is told. */
  get asker(): { readonly signal: AbortSignal; readonly client: string } {
    return { signal: this.signal, client: this.clientKey }
  }

  /** Undefined while the request is under way. */
  get ending(): Ending | undefined {
    return this.#ending
  }

  /** Milliseconds from the request to the end of its answer. */
  get durationMs(): number {
    return this.#endedAt - this.startedAt
  }

  /** The HTTP status that the client was told; 499 where the connection closed before an answer. */
  get status(): number {
    const { response } = this
    const isToldNothing = this.#ending !== 'complete' && (!response.headersSent || response.socket === null)
    return isToldNothing ? noAnswer : response.statusCode
  }

  /** Bytes of the body that were handed to the socket; a client that left may have taken one buffer less. */
  get sentBytes(): number {
    if (this.request.method === 'HEAD' || this.response.statusCode === 304) return 0
    return this.status === noAnswer ? 0 : this.bytes
  }

  /** Why we broke it off. */
  get brokenBecause(): unknown {
    return this.#brokenBecause
  }

  /** In words, what went wrong; undefined where nothing did. */
  get reason(): string | undefined {
    const cause = this.#brokenBecause ?? this.error
    return cause instanceof Error ? cause.message : cause === undefined ? undefined : String(cause)
  }

  /** Says, before the connection is destroyed, that it is we who end it. */
  breakOff(reason: unknown): void {
    this.#brokenBecause ??= reason
  }

  /** The end, as the response or the socket tell it; only the first call counts, and returns true. */
  end(): boolean {
    if (this.#ending !== undefined) return false
    this.#endedAt = performance.now()
    if (this.response.writableFinished) this.#ending = 'complete'
    else this.#ending = this.#brokenBecause === undefined ? 'left' : 'broken'
    this.#abortIfGone()
    return true
  }

  #abortIfGone(): void {
    if (this.#ending !== undefined && this.#ending !== 'complete')
      this.#gone?.abort(new Error('the client has left'))
  }
}

/** As Node tells them apart. */
function expectsContinue({ headers, httpVersion }: IncomingMessage): boolean {
  return httpVersion === '1.1' && /(?:^|\W)100-continue(?:$|\W)/i.test(headers.expect ?? '')
}
