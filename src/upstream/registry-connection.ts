import type { Logger } from 'pino'
import type { Expiring } from '../flow/expiring.ts'
import { AnswerCounts } from './answer-counts.ts'
import { AtStorage, type StorageQuestion } from './chain/at-storage.ts'
import { StatusToError } from './chain/status-to-error.ts'
import { WhileReachable, type WhileReachableOptions } from './chain/while-reachable.ts'
import { WithTokens } from './chain/with-tokens.ts'
import { type Limits, WithinLimits } from './chain/within-limits.ts'
import { Transport, type TransportOptions } from './connections/transport.ts'
import { EarlyConnections, type EarlyConnectionsOptions } from './early-connections.ts'
import { reasonOf } from './error.ts'
import type { Answer, Link, Question } from './question.ts'
import type { RateLimit } from './rate-limit.ts'
import type { RegistryCheck } from './registry-check.ts'
import { RegistryProbe } from './registry-probe.ts'
import { Account, type Credentials } from './tokens/account.ts'
import { Sites } from './tokens/sites.ts'
import { TokenSource } from './tokens/token-source.ts'

export interface RegistryConnectionOptions
  extends Omit<TransportOptions, 'upstream'>,
    Pick<EarlyConnectionsOptions, 'connections'>,
    Pick<WhileReachableOptions, 'busyPatienceMs'> {
  /** Such as docker.io. Its `/v2/` lies at `url`; a path before that is kept. */
  readonly name: string
  readonly credentials: Credentials | undefined
  /** Hosts or URLs that are accepted as realm besides the upstream's own (`upstreams[].realms`). */
  readonly realms: readonly string[]
  /** Pulls of its quota that are left to people (`limits.reserve`); none unless told. */
  readonly reserve?: number | undefined
  /** Of all upstreams. */
  readonly tokens: Expiring<string>
  readonly logger: Logger
}

/**
 * The one way to a registry, for anyone and for the account: the links of the chain put together, the last of which
 * turns what is no answer into an UpstreamError.
 */
export class RegistryConnection implements Link, AsyncDisposable {
  readonly counts = new AnswerCounts()
  /** What is opened before it is needed. */
  readonly early: EarlyConnections
  /** Undefined where none is configured. */
  readonly account: Account | undefined
  readonly #name: string
  readonly #origin: string
  readonly #transport: Transport
  readonly #probe: RegistryProbe
  readonly #limits: WithinLimits
  readonly #circuit: WhileReachable
  readonly #chain: Link
  readonly #storage: AtStorage
  readonly #stopped = new AbortController()
  #tokensFetched = 0

  constructor(options: RegistryConnectionOptions) {
    const { name: upstream, url, credentials, realms, reserve, patienceMs, tokens, logger } = options
    const { counts } = this
    this.#name = upstream
    this.#origin = url.origin
    const account = credentials && new Account({ upstream, credentials, logger })
    this.account = account
    const transport = new Transport({ ...options, upstream })
    this.#transport = transport
    const onTokenFetched = (): void => {
      this.#tokensFetched += 1
    }
    const tokensAt = (origin: URL) =>
      new TokenSource({ upstream, url: origin, realms, tokens, transport, patienceMs, onTokenFetched })
    const sites = new Sites({ upstream, url, patienceMs, tokens: tokensAt(url), tokensAt })
    this.early = new EarlyConnections(transport, {
      ...options,
      tokenService: (repository) => sites.at(url).tokens.tokenService({ repository, account }),
      // What refuses all requests is not called upon either.
      isReachable: () => this.isReachable && !this.limits.held.some(({ all }) => all),
    })
    const probe = new RegistryProbe({ upstream, url, transport, sites, account })
    this.#probe = probe
    const withTokens = new WithTokens(transport, { url, sites, account, counts })
    this.#limits = new WithinLimits(withTokens, { upstream, url, account, reserve, patienceMs, logger })
    this.#circuit = new WhileReachable(this.#limits, {
      ...options,
      upstream,
      probe: (signal) => probe.assertBack(signal),
      // After a change of the line they lead nowhere, and the probe would wait on one of them.
      onOpen: () => transport.dropIdle(),
    })
    const onServed = (answer: Answer): void => probe.noteServed(answer)
    this.#storage = new AtStorage(transport, { upstream, url, counts })
    this.#chain = new StatusToError(this.#circuit, { upstream, url, onServed })
  }

  /** The quota that the upstream last told of, if it tells. */
  get rateLimit(): RateLimit | undefined {
    return this.#limits.rateLimit
  }

  /** What it lets us ask. */
  get limits(): Limits {
    return this.#limits
  }

  /** Whether it answered when it was last needed. */
  get isReachable(): boolean {
    return this.#circuit.isReachable
  }

  /** See `WhileReachable`. */
  get isSilent(): boolean {
    return this.#circuit.isSilent
  }

  /** See `WhileReachable`. */
  whenSilent(listener: () => void): () => void {
    return this.#circuit.whenSilent(listener)
  }

  /** Tokens fetched so far. */
  get tokensFetched(): number {
    return this.#tokensFetched
  }

  /** Rejects with the reason of the question's signal, and when this connection is disposed of. */
  request(question: Question): Promise<Answer> {
    return this.#chain.request({ ...question, signal: this.#untilStopped(question.signal) })
  }

  /** Asks storage, which the registry has sent us to before. Rejects likewise. */
  requestStorage(question: StorageQuestion): Promise<Answer> {
    return this.#storage.request({ ...question, signal: this.#untilStopped(question.signal) })
  }

  /**
   * Finds out what answers where the upstream should be, and whether it takes the account. Never throws; where
   * nothing answers the circuit opens, which the log tells.
   */
  async check(): Promise<RegistryCheck> {
    let failure = this.#circuit.cause
    for (let attempt = 0; attempt < 2 && this.isReachable; attempt += 1) {
      try {
        const check = await this.#probe.check(this.#stopped.signal)
        await this.early.introduced()
        return check
      } catch (error) {
        failure = error
        this.#circuit.failed(error)
      }
    }
    return { state: 'unreachable', sentence: `cannot be reached: ${reasonOf(failure, this.#name)}` }
  }

  /** Milliseconds of a round trip to an origin, or else to the registry itself; undefined where nobody knows yet. */
  roundTripMs(origin?: string): number | undefined {
    const { roundTrips } = this.#transport
    return (origin === undefined ? undefined : roundTrips.of(origin)) ?? roundTrips.of(this.#origin)
  }

  /** Closes the connections that nobody uses at the moment. */
  dropIdle(): void {
    this.#transport.dropIdle()
  }

  /** Ends every question under way, the tokens that they wait for, and the answers whose bodies still come. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort(new Error(`${this.#name} is not asked any more: the mirror is stopping`))
    await this.#circuit[Symbol.asyncDispose]()
    this.#transport[Symbol.dispose]()
  }

  #untilStopped(signal: AbortSignal | undefined): AbortSignal {
    return signal ? AbortSignal.any([signal, this.#stopped.signal]) : this.#stopped.signal
  }
}
