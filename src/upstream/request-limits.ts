import type { Logger } from 'pino'
import { readBody, type TransportResponse } from './connections/exchange.ts'
import type { UpstreamError } from './error.ts'
import { parseRetryAfter, RateLimitGate } from './rate-limit.ts'
import type { Account } from './tokens/account.ts'
import { rateLimited } from './tokens/sites.ts'

export interface RequestLimitsOptions {
  /** The upstream's name, for errors and the log. */
  readonly upstream: string
  readonly hasAccount: boolean
  readonly logger: Logger
}

/** Bytes of a 429 that are looked at. */
const maximumErrorBytes = 64 * 1024

/**
 * How long an upstream has told us to wait. Docker Hub counts for each account, and for anyone; a 429 to a HEAD does
 * not tell what it is about.
 */
export class RequestLimits {
  readonly #options: RequestLimitsOptions
  readonly #anyone = new RateLimitGate()
  readonly #account = new RateLimitGate()
  readonly #heads = new RateLimitGate()

  constructor(options: RequestLimitsOptions) {
    this.#options = options
  }

  /** The gates that a question has to pass; a 429 to it closes the last one. */
  gatesOf(method: 'GET' | 'HEAD', path: string, account: Account | undefined): RateLimitGate[] {
    if (account) return [this.#account]
    const isOfHeads = this.#options.hasAccount && method === 'HEAD' && path.startsWith('manifests/')
    return isOfHeads ? [this.#anyone, this.#heads] : [this.#anyone]
  }

  /** Throws UpstreamError RATE_LIMITED while one of the gates is closed. `countsAsPull`: a GET of a manifest. */
  assertOpen(gates: readonly RateLimitGate[], countsAsPull: boolean): void {
    const seconds = Math.max(...gates.map((gate) => gate.secondsToWait(countsAsPull)))
    if (seconds > 0) throw rateLimited(this.#options.upstream, seconds)
  }

  /** Notes a 429, and says what to throw. */
  async note(response: TransportResponse, gates: readonly RateLimitGate[]): Promise<UpstreamError> {
    const { upstream, logger } = this.#options
    const seconds = parseRetryAfter(response.headers['retry-after'])
    const body = await readBody(response, upstream, maximumErrorBytes).catch(() => Buffer.alloc(0))
    gates.at(-1)?.block(/pull rate limit/i.test(body.toString()) ? 'pulls' : 'all', seconds)
    logger.warn({ upstream, retryAfterSeconds: seconds }, 'upstream limits our requests')
    return rateLimited(upstream, seconds)
  }
}
