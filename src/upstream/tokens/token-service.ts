import { LRUCache } from 'lru-cache'
import { type Holdoff, pass } from '../../flow/holdoff.ts'
import type { Sender } from '../connections/transport.ts'
import { UpstreamError } from '../error.ts'
import { inWords } from '../limit-words.ts'
import { limitOfAll, trialPatienceMs } from '../rate-limit-gate.ts'
import { requestToken, type Token, type TokenRequest } from './token-request.ts'

export interface TokenServicesOptions {
  readonly transport: Sender
  /** Milliseconds without a sign of life after which nobody waits for an answer any more. */
  readonly patienceMs: number
}

/** Token services of one registry whose limits are remembered. */
const maximumServices = 32

/** The token services that a registry names, none of which is asked while it has told us to wait: its limit is its own. */
export class TokenServices {
  readonly #options: TokenServicesOptions
  readonly #limits = new LRUCache<string, Holdoff>({ max: maximumServices })

  constructor(options: TokenServicesOptions) {
    this.#options = options
  }

  /** Throws as `requestToken` does; UpstreamError RATE_LIMITED without asking while that service lets nobody ask. */
  async ask(request: TokenRequest): Promise<Token | number> {
    const { transport, patienceMs } = this.#options
    const { upstream, realm, signal } = request
    const limit = this.#limitOf(realm)
    const passage = await pass([limit], { patienceMs: trialPatienceMs(patienceMs), signal })
    if (!passage.isOpen) throw limited(upstream, limit)
    using trial = passage.trial
    const askedAt = performance.now()
    try {
      const answer = await requestToken(transport, request)
      trial.worked()
      return answer
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.code !== 'RATE_LIMITED') throw error
      const { retryAfterSeconds: seconds } = error
      limit.hold(seconds === undefined ? undefined : seconds * 1000, askedAt)
      throw limited(upstream, limit, error)
    }
  }

  #limitOf({ origin }: URL): Holdoff {
    const known = this.#limits.get(origin)
    if (known) return known
    const limit = limitOfAll()
    this.#limits.set(origin, limit)
    return limit
  }
}

function limited(upstream: string, { leftMs }: Holdoff, cause?: unknown): UpstreamError {
  const seconds = Math.max(1, Math.ceil(leftMs / 1000))
  const message = `its token service limits our requests: it is asked again in ${inWords(seconds)}`
  return new UpstreamError('RATE_LIMITED', upstream, message, {
    status: 429,
    retryAfterSeconds: seconds,
    cause,
  })
}
