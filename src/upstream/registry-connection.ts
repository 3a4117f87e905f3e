import type { SecureContext } from 'node:tls'
import type { Logger } from 'pino'
import { CircuitBreaker } from '../flow/circuit-breaker.ts'
import type { Expiring } from '../flow/expiring.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import type { TransportResponse } from './connections/exchange.ts'
import type { LineUse } from './connections/line-use.ts'
import type { Names } from './connections/names.ts'
import type { ProxySettings } from './connections/proxy-settings.ts'
import { Transport } from './connections/transport.ts'
import { elsewhere, failureOfStatus, reasonOf, UpstreamError, type UpstreamErrorCode } from './error.ts'
import { parseRateLimit, parseRetryAfter, type RateLimit, type RateLimitGate } from './rate-limit.ts'
import { isBack, judgeRegistry, type RegistryCheck } from './registry-check.ts'
import { RequestLimits } from './request-limits.ts'
import { Account, type Credentials } from './tokens/account.ts'
import { rateLimited, Sites } from './tokens/sites.ts'
import { TokenSource } from './tokens/token-source.ts'
import { watchOver } from './watch-over.ts'

export interface RegistryConnectionOptions {
  /** Such as docker.io. */
  readonly name: string
  /** Where its `/v2/` lies; a path before that is kept. */
  readonly url: URL
  readonly credentials: Credentials | undefined
  /** Hosts or URLs that are accepted as realm besides the upstream's own (`upstreams[].realms`). */
  readonly realms: readonly string[]
  readonly names: Names
  readonly lineUse: LineUse
  /** The authorities that are trusted. */
  readonly secureContext: SecureContext
  readonly proxies: ProxySettings
  /** Milliseconds without a byte after which a connection is given up. */
  readonly stallMs: number
  /** Milliseconds without a sign of life after which nobody has to wait for the answer to a question any more. */
  readonly patienceMs: number
  readonly userAgent: string
  /** Of all upstreams. */
  readonly tokens: Expiring<string>
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
  /** Whether a redirect to where the bytes are is answer enough and comes back as it is. */
  readonly keepRedirect?: boolean
  /** For how long it waits for an upstream that has just gone, and since when it is wanted (monotonic milliseconds). */
  readonly patience?: { readonly since: number; readonly forMs: number }
  /** Who asks: anyone, unless it says otherwise. Without an account, or while it is refused, that is anyone, too. */
  readonly as?: 'account'
}

/**
 * Sends requests to one registry: with the token that it wants, not at all while it cannot be reached (circuit
 * breaker) or has told us to wait, and with every status but 2xx turned into an UpstreamError.
 */
export class RegistryConnection implements AsyncDisposable {
  /** Answers so far, by `METHOD kind status`. */
  readonly requests = new Map<string, number>()
  /** Tokens fetched so far. */
  tokensFetched = 0
  /** Undefined where none is configured. */
  readonly account: Account | undefined
  readonly #options: RegistryConnectionOptions
  readonly #transport: Transport
  readonly #sites: Sites
  readonly #breaker: CircuitBreaker
  readonly #limits: RequestLimits
  #rateLimit: RateLimit | undefined
  #check: RegistryCheck | undefined
  #hasServed = false

  constructor(options: RegistryConnectionOptions) {
    const { name, url, credentials, logger } = options
    this.#options = options
    this.account = credentials && new Account({ upstream: name, credentials, logger })
    this.#limits = new RequestLimits({ upstream: name, hasAccount: credentials !== undefined, logger })
    this.#transport = new Transport({ ...options, upstream: name })
    const tokensAt = (origin: URL) => this.#tokensAt(origin)
    this.#sites = new Sites({ upstream: name, url, tokens: tokensAt(url), tokensAt })
    this.#breaker = new CircuitBreaker({
      threshold: 2,
      probeEveryMs: [1000, 15_000],
      probe: (signal) => this.#probe(signal),
      onChange: (state, cause) => {
        if (state === 'closed') return logger.info({ upstream: name }, 'upstream is back')
        const reason = reasonOf(cause, name)
        logger.warn({ upstream: name, reason }, 'upstream cannot be reached: serving what is cached')
        // After a change of the line they lead nowhere, and the probe would wait on one of them.
        this.#transport.dropIdle()
      },
    })
  }

  /** The quota that the upstream last told of, if it tells: the account's where there is one. */
  get rateLimit(): RateLimit | undefined {
    return this.#rateLimit
  }

  /** Whether it answered when it was last needed. */
  get isReachable(): boolean {
    return !this.#breaker.isOpen
  }

  /**
   * Finds out what answers where the upstream should be, and whether it takes the account. Never throws; where
   * nothing answers the circuit opens, which the log tells.
   */
  async check(): Promise<RegistryCheck> {
    let failure: unknown = this.#breaker.cause
    for (let attempt = 0; attempt < 2 && this.isReachable; attempt += 1) {
      try {
        const response = await this.#ping()
        const check = await judgeRegistry(response, this.#options.url)
        this.#check = check
        return check.state === 'registry' ? await this.#checkAccount(response, check) : check
      } catch (error) {
        failure = error
        this.#breaker.failed(error)
      }
    }
    return { state: 'unreachable', sentence: `cannot be reached: ${reasonOf(failure, this.#options.name)}` }
  }

  /**
   * Sends a request with a token, again where that is not yet the right one. `countsAsPull`: a GET of a manifest,
   * which Docker Hub counts. Throws UpstreamError, also for every status but 2xx.
   */
  async request(
    method: 'GET' | 'HEAD',
    query: RegistryQuery,
    countsAsPull = false,
  ): Promise<TransportResponse> {
    const { name } = this.#options
    if (query.patience) await this.#breaker.comeBack(query.patience.since, query.patience.forMs, query.signal)
    if (this.#breaker.isOpen) {
      throw this.#error('CIRCUIT_OPEN', `it cannot be reached: ${reasonOf(this.#breaker.cause, name)}`)
    }
    const account = query.as === 'account' && !this.account?.isPaused ? this.account : undefined
    const gates = this.#limits.gatesOf(method, query.path, account)
    this.#limits.assertOpen(gates, countsAsPull)
    let isCounted = false
    const onRedirect = (): void => {
      isCounted = true
    }
    try {
      const response = await this.watch(
        () => this.#exchange(method, query, account, onRedirect),
        (error) => {
          if (!isCounted) this.#failed(error)
          isCounted = true
        },
      )
      this.#breaker.succeeded()
      if (account !== undefined || !this.account || this.account.isPaused)
        this.#rateLimit = parseRateLimit(response.headers) ?? this.#rateLimit
      const isKept = query.keepRedirect && response.headers.location !== undefined
      if (response.status >= 200 && response.status < (isKept ? 400 : 300)) {
        this.#hasServed ||= !/html/i.test(response.headers['content-type'] ?? '')
        return response
      }
      throw await this.#failureOf(response, gates)
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      // It was there, and sent us on.
      if (error.isElsewhere) this.#breaker.succeeded()
      else if (error.opensCircuit && !isCounted) this.#failed(error)
      throw error
    }
  }

  /** Does a part of a question for as long as it takes; see `watchOver`. */
  watch<Value>(part: () => Promise<Value>, onSilence?: (error: UpstreamError) => void): Promise<Value> {
    return watchOver(part, { ...this.#options, onSilence })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#breaker[Symbol.asyncDispose]()
    this.#transport[Symbol.dispose]()
  }

  /** Goes the whole way again with each answer to a challenge: what is signed on it may be good for once only. */
  async #exchange(
    method: 'GET' | 'HEAD',
    query: RegistryQuery,
    account: Account | undefined,
    onRedirect: () => void,
  ): Promise<TransportResponse> {
    const { repository, path, headers, signal, pace } = query
    const url = this.#urlOf(`${repository}/${path}`)
    const question = this.#sites.ask({ repository, account })
    for (;;) {
      const authorization = await question.authorize(url, false)
      const response = await this.#transport.request({
        method,
        url,
        headers: { ...headers, ...(authorization === undefined ? {} : { authorization }) },
        signal,
        pace,
        redirects: {
          // Another registry has not yet said a word.
          keep: (next) => query.keepRedirect === true && !this.#sites.isRegistry(next),
          authorize: (next, isAway) => {
            onRedirect()
            return question.authorize(next, isAway)
          },
        },
      })
      const what = path.slice(0, path.search(/[/?]/)).replace(/(manifest|blob)s/, '$1')
      const kind = `${method} ${what} ${response.status}`
      this.requests.set(kind, (this.requests.get(kind) ?? 0) + 1)
      if (response.status !== 401 || !(await question.answer(response))) return response
      response.discard()
    }
  }

  /** Silence is no outage while blobs of the same upstream come in: they may fill the line. */
  #failed(error: UpstreamError): void {
    const { name, lineUse, patienceMs } = this.#options
    if (error.code !== 'TIMED_OUT' || !lineUse.isBusy(name, patienceMs)) this.#breaker.failed(error)
  }

  /** A question of nobody in particular: that `/v2/` wants a token is an answer. */
  async #ping(signal?: AbortSignal): Promise<TransportResponse> {
    return this.#transport.request({ method: 'GET', url: this.#urlOf(''), signal })
  }

  /** Rejects while something else answers, such as the login page of a network. */
  async #probe(signal: AbortSignal): Promise<void> {
    const check = await judgeRegistry(await this.#ping(signal), this.#options.url)
    if (!isBack(check, this.#check, this.#hasServed)) throw this.#error('UNREACHABLE', check.sentence)
    this.#check = check
  }

  async #checkAccount(response: TransportResponse, check: RegistryCheck): Promise<RegistryCheck> {
    const { account } = this
    if (!account) return check
    try {
      const question = this.#sites.ask({ repository: undefined, account })
      await question.authorize(response.url, false)
      if (response.status === 401) await question.answer(response)
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      // Some token services refuse everybody who names no repository.
      if (error.isRefusal) return check
      const sentence = `answers, but gives no token: ${reasonOf(error, this.#options.name)}`
      return { state: 'registry', sentence }
    }
    if (!account.isRefused) return check
    const sentence = 'answers, and refuses the configured user name and password, going on anonymously'
    return { state: 'registry', sentence }
  }

  #tokensAt(url: URL): TokenSource {
    const onTokenFetched = (): void => {
      this.tokensFetched += 1
    }
    const { name: upstream, realms, tokens } = this.#options
    return new TokenSource({ upstream, url, realms, tokens, transport: this.#transport, onTokenFetched })
  }

  #urlOf(path: string): URL {
    const base = this.#options.url
    return new URL(`${base.pathname.replace(/\/$/, '')}/v2/${path}`, base)
  }

  async #failureOf(response: TransportResponse, gates: readonly RateLimitGate[]): Promise<UpstreamError> {
    const { url } = response
    const isOwn = this.#sites.isOwn(url)
    if (response.status !== 429) {
      response.discard()
      const failure = failureOfStatus(this.#options.name, response.status)
      return isOwn ? failure : elsewhere(failure, url)
    }
    if (isOwn) return this.#limits.note(response, gates)
    response.discard()
    const seconds = parseRetryAfter(response.headers['retry-after'])
    if (this.#sites.isRegistry(url)) this.#sites.block(url, seconds)
    return elsewhere(rateLimited(this.#options.name, seconds), url)
  }

  #error(code: UpstreamErrorCode, message: string): UpstreamError {
    return new UpstreamError(code, this.#options.name, message)
  }
}
