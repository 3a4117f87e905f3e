import pLimit from 'p-limit'
import type { Logger } from 'pino'
import { SingleFlight } from '../../flow/single-flight.ts'
import { UpstreamError } from '../error.ts'

export interface Credentials {
  readonly username: string
  readonly password: string
}

export interface AccountOptions {
  /** The upstream's name, for the log. */
  readonly upstream: string
  readonly credentials: Credentials
  readonly logger: Logger
}

/** What an attempt to use credentials came to; `refusal` says who answered what. */
export type Attempt<Value> = { readonly value: Value } | { readonly refusal: string }

/** Milliseconds without a try after each refusal in a row. Accounts are locked after a handful of tries in minutes. */
const pausesMs = [15 * 60_000, 30 * 60_000, 60 * 60_000]
/** Attempts at a time: so many may be on their way when the password stops being right. */
const attemptsAtOnce = 4

/**
 * The operator's account at an upstream, and whether the upstream takes it. The first attempt goes alone, and after
 * a refusal there is none for a while: a wrong password must not lock the account. Each refusal is one error line.
 */
export class Account {
  readonly credentials: Credentials
  readonly #options: AccountOptions
  readonly #limit = pLimit(attemptsAtOnce)
  readonly #proving = new SingleFlight<'proof', unknown>()
  #isAccepted = false
  #refusals = 0
  #nextTryAt = 0

  constructor(options: AccountOptions) {
    this.#options = options
    this.credentials = options.credentials
  }

  /** Whether the upstream refused it when it was last tried. */
  get isRefused(): boolean {
    return this.#refusals > 0
  }

  /** Whether it would not be tried now. */
  get isPaused(): boolean {
    return this.isRefused && performance.now() < this.#nextTryAt
  }

  /** Whether the upstream took it when it was last tried. */
  get isAccepted(): boolean {
    return this.#isAccepted
  }

  /** Runs `attempt` with the account; undefined where it is, or was a while ago, refused. Rejects as `attempt` does. */
  async use<Value>(
    attempt: (credentials: Credentials) => Promise<Attempt<Value>>,
    signal?: AbortSignal | undefined,
  ): Promise<Value | undefined> {
    const run = () => this.#run(attempt)
    while (this.#proving.has('proof')) {
      await this.#proving.run('proof', run, signal).catch(rethrowOutage)
      signal?.throwIfAborted()
    }
    if (this.isPaused) return undefined
    if (this.#isAccepted) return this.#limit(run)
    return this.#proving.run('proof', run, signal) as Promise<Value | undefined>
  }

  async #run<Value>(
    attempt: (credentials: Credentials) => Promise<Attempt<Value>>,
  ): Promise<Value | undefined> {
    // Others may have been refused while this one waited for its turn.
    if (this.isPaused) return undefined
    const result = await attempt(this.credentials)
    if ('refusal' in result) {
      this.#refuse(result.refusal)
      return undefined
    }
    this.#accept()
    return result.value
  }

  #accept(): void {
    const { upstream, logger } = this.#options
    if (this.isRefused)
      logger.info({ upstream }, 'upstream takes the configured user name and password again')
    this.#isAccepted = true
    this.#refusals = 0
  }

  #refuse(refusal: string): void {
    if (this.isPaused) return
    const { upstream, logger } = this.#options
    const pauseMs = pausesMs[Math.min(this.#refusals, pausesMs.length - 1)] ?? 0
    this.#isAccepted = false
    this.#refusals += 1
    this.#nextTryAt = performance.now() + pauseMs
    logger.error(
      { upstream, username: this.credentials.username },
      `${upstream} refuses the configured user name and password (${refusal}): going on anonymously. Correct username and password of this upstream, or make a new access token, and start again; tried again in ${pauseMs / 60_000} min`,
    )
  }
}

/** An outage is everybody's; any other failure is that of the one question, and the next one tries for itself. */
function rethrowOutage(error: unknown): void {
  if (error instanceof UpstreamError && error.isOutage) throw error
}
