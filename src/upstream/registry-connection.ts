import type Keyv from 'keyv'
import type { Logger } from 'pino'
import { CircuitBreaker } from '../flow/circuit-breaker.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import { UpstreamError, type UpstreamErrorCode } from './error.ts'
import { parseRateLimit, parseRetryAfter, type RateLimit, RateLimitGate } from './rate-limit.ts'
import { type Credentials, TokenSource } from './token-source.ts'
import { readBody, Transport, type TransportResponse } from './transport.ts'

export interface RegistryConnectionOptions {
  /** Such as docker.io. */
  readonly name: string
  /** Where its `/v2/` lies; a path before that is kept. */
  readonly url: URL
  readonly credentials: Credentials | undefined
  /** Hosts or URLs that are accepted as realm besides the upstream's own (`upstreams[].realms`). */
  readonly realms: readonly string[]
  /** Certificates in PEM that are trusted besides the usual ones. */
  readonly ca: string | undefined
  /** The proxy settings in the form of the environment: HTTP_PROXY, HTTPS_PROXY, NO_PROXY. */
  readonly proxyEnvironment: NodeJS.ProcessEnv
  /** Milliseconds without a byte after which a connection is given up. */
  readonly stallMs: number
  readonly userAgent: string
  /** Holds tokens. */
  readonly cache: Keyv
  readonly logger: Logger
}

/** A question about a repository: `path` lies below its name, such as `manifests/latest`. */
export interface RegistryQuery {
  readonly repository: RepositoryName
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
  /** Waits until so many bytes of the body may come. */
  readonly pace?: ((bytes: number) => Promise<void>) | undefined
  /** Whether a redirect is answer enough and comes back as it is. */
  readonly keepRedirect?: boolean
}

const maximumErrorBytes = 64 * 1024

/**
 * Sends requests to one registry: with the token that it wants, not at all while it cannot be reached (circuit
 * breaker) or has told us to wait, and with every status but 2xx turned into an UpstreamError.
 */
export class RegistryConnection implements AsyncDisposable {
  /** Answers so far, by `METHOD kind status`. */
  readonly requests = new Map<string, number>()
  readonly #options: RegistryConnectionOptions
  readonly #transport: Transport
  readonly #tokens: TokenSource
  readonly #breaker: CircuitBreaker
  readonly #gate = new RateLimitGate()
  #rateLimit: RateLimit | undefined
  #tokensFetched = 0

  constructor(options: RegistryConnectionOptions) {
    const { name, logger } = options
    this.#options = options
    this.#transport = new Transport({ ...options, upstream: name })
    this.#tokens = new TokenSource({
      ...options,
      upstream: name,
      transport: this.#transport,
      onTokenFetched: () => {
        this.#tokensFetched += 1
      },
    })
    this.#breaker = new CircuitBreaker({
      threshold: 2,
      probeEveryMs: [1000, 15_000],
      probe: (signal) => this.#ping(signal),
      onChange: (state, cause) => {
        if (state === 'open')
          logger.warn({ upstream: name, reason: String(cause) }, 'upstream cannot be reached')
        else logger.info({ upstream: name }, 'upstream is back')
      },
    })
  }

  /** The quota that the upstream last told of, if it tells. */
  get rateLimit(): RateLimit | undefined {
    return this.#rateLimit
  }

  /** Whether it answered when it was last needed. */
  get isReachable(): boolean {
    return !this.#breaker.isOpen
  }

  /** Tokens fetched so far. */
  get tokensFetched(): number {
    return this.#tokensFetched
  }

  /** Finds out whether the upstream answers; the result is in `isReachable`. Never throws. */
  async checkReachable(): Promise<void> {
    for (let attempt = 0; attempt < 2 && this.isReachable; attempt += 1) {
      try {
        return await this.#ping()
      } catch (error) {
        this.#breaker.failed(error)
      }
    }
  }

  /**
   * Sends a request with a token, a second time with a fresh one. `countsAsPull`: a GET of a manifest, which
   * Docker Hub counts. Throws UpstreamError, also for every status but 2xx.
   */
  async request(
    method: 'GET' | 'HEAD',
    query: RegistryQuery,
    countsAsPull = false,
  ): Promise<TransportResponse> {
    if (this.#breaker.isOpen) {
      const { cause } = this.#breaker
      const reason = (cause instanceof Error ? cause.message : String(cause)).replace(
        `${this.#options.name}: `,
        '',
      )
      throw this.#error('CIRCUIT_OPEN', `it cannot be reached: ${reason}`)
    }
    const waitSeconds = this.#gate.secondsToWait(countsAsPull)
    if (waitSeconds > 0) throw this.#rateLimited(waitSeconds)
    try {
      const response = await this.#requestWithToken(method, query)
      this.#breaker.succeeded()
      this.#rateLimit = parseRateLimit(response.headers) ?? this.#rateLimit
      if (
        response.status >= 200 &&
        response.status < (query.keepRedirect && response.headers.location ? 400 : 300)
      )
        return response
      throw await this.#failureOf(response)
    } catch (error) {
      if (
        error instanceof UpstreamError &&
        !error.isElsewhere &&
        ['UNREACHABLE', 'TIMED_OUT'].includes(error.code)
      ) {
        this.#breaker.failed(error)
      }
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#breaker[Symbol.asyncDispose]()
    this.#transport[Symbol.dispose]()
  }

  async #requestWithToken(method: 'GET' | 'HEAD', query: RegistryQuery): Promise<TransportResponse> {
    const scope = `repository:${query.repository}:pull`
    const authorization = await this.#tokens.authorization(scope)
    const response = await this.#send(method, query, authorization)
    if (response.status !== 401) return response
    response.discard()
    const challenge = response.headers['www-authenticate']
    return this.#send(method, query, await this.#tokens.answerChallenge(challenge, scope, authorization))
  }

  async #send(
    method: 'GET' | 'HEAD',
    query: RegistryQuery,
    authorization: string | undefined,
  ): Promise<TransportResponse> {
    const response = await this.#transport.request({
      method,
      url: this.#urlOf(`${query.repository}/${query.path}`),
      headers: { ...query.headers, ...(authorization === undefined ? {} : { authorization }) },
      signal: query.signal,
      pace: query.pace,
      redirects: query.keepRedirect ? { keep: () => true } : undefined,
    })
    const what = query.path.slice(0, query.path.search(/[/?]/)).replace(/(manifest|blob)s/, '$1')
    const kind = `${method} ${what} ${response.status}`
    this.requests.set(kind, (this.requests.get(kind) ?? 0) + 1)
    return response
  }

  async #ping(signal?: AbortSignal): Promise<void> {
    const response = await this.#transport.request({ method: 'GET', url: this.#urlOf(''), signal })
    response.discard()
  }

  #urlOf(path: string): URL {
    const base = this.#options.url
    return new URL(`${base.pathname.replace(/\/$/, '')}/v2/${path}`, base)
  }

  async #failureOf(response: TransportResponse): Promise<UpstreamError> {
    const { status } = response
    const { name, logger } = this.#options
    if (status === 429) {
      const seconds = parseRetryAfter(response.headers['retry-after'])
      const body = await readBody(response, name, maximumErrorBytes).catch(() => Buffer.alloc(0))
      this.#gate.block(/pull rate limit/i.test(body.toString()) ? 'pulls' : 'all', seconds)
      logger.warn({ upstream: name, retryAfterSeconds: seconds }, 'upstream limits our requests')
      return this.#rateLimited(seconds)
    }
    response.discard()
    if (status === 401) return this.#error('UNAUTHORIZED', 'it does not let us read this', status)
    if (status === 403) return this.#error('FORBIDDEN', 'it refuses to let us read this', status)
    if (status === 404) return this.#error('NOT_FOUND', 'it does not have this', status)
    if (status >= 500) return this.#error('SERVER_ERROR', `it answered ${status}`, status)
    return this.#error('INVALID_RESPONSE', `it answered ${status}`, status)
  }

  #rateLimited(retryAfterSeconds: number): UpstreamError {
    const message = `its limit of requests is used up, for ${retryAfterSeconds} s at least`
    return new UpstreamError('RATE_LIMITED', this.#options.name, message, { status: 429, retryAfterSeconds })
  }

  #error(code: UpstreamErrorCode, message: string, status?: number): UpstreamError {
    return new UpstreamError(code, this.#options.name, message, status === undefined ? {} : { status })
  }
}
