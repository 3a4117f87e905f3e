import type { Logger } from 'pino'
import { readBody } from '../connections/read-body.ts'
import { rateLimited, reservedForPeople, type UpstreamError } from '../error.ts'
import { type Answer, type Asker, countsAsPull, type Link, type Question } from '../question.ts'
import { Quotas, type ToldQuota } from '../quotas.ts'
import { parseRetryAfter, type RateLimit, RateLimitGate } from '../rate-limit.ts'
import type { Account } from '../tokens/account.ts'

export interface WithinLimitsOptions {
  /** The upstream's name, for errors and the log. */
  readonly upstream: string
  /** Where it lies: others have limits of their own. */
  readonly url: URL
  readonly account: Pick<Account, 'isPaused'> | undefined
  /** Pulls of a quota that are left to people. */
  readonly reserve?: number | undefined
  readonly logger: Logger
}

/** What an upstream lets us ask, as far as it told. */
export type Limits = Pick<WithinLimits, 'quotas' | 'isReserved'>

/** Bytes of a 429 that are looked at. */
const maximumErrorBytes = 64 * 1024

/**
 * Asks nothing while an upstream has told us to wait (429). Docker Hub counts for each account, and for anyone; a 429 to
 * a HEAD does not tell what it is about.
 */
export class WithinLimits implements Link {
  readonly #next: Link
  readonly #options: WithinLimitsOptions
  readonly #anyone = new RateLimitGate()
  readonly #account = new RateLimitGate()
  readonly #heads = new RateLimitGate()
  readonly #quotas = new Quotas()

  constructor(next: Link, options: WithinLimitsOptions) {
    this.#next = next
    this.#options = options
  }

  /** The quota that the upstream last told of, if it tells: the account's where there is one that it takes. */
  get rateLimit(): RateLimit | undefined {
    return this.#quotas.last(this.#counted)
  }

  /** All of which it told. */
  get quotas(): readonly ToldQuota[] {
    return this.#quotas.all
  }

  /** Whether only the last pulls are left (`limits.reserve`): what is for nobody in particular gets none. */
  get isReserved(): boolean {
    return this.#reservedOf(this.#counted) !== undefined
  }

  /**
   * Throws UpstreamError without asking: RATE_LIMITED while one of the gates is closed, RESERVED what is for nobody and
   * would take one of the last pulls. A 429 comes back as it is.
   */
  async request(question: Question): Promise<Answer> {
    const { upstream, url } = this.#options
    const as = question.as === 'account' ? this.#counted : 'anyone'
    const isPull = countsAsPull(question)
    const gates = this.#gatesOf(question, as)
    const seconds = Math.max(...gates.map((gate) => gate.secondsToWait(isPull)))
    if (seconds > 0) throw rateLimited(upstream, seconds)
    const reserved = isPull && question.background ? this.#reservedOf(as) : undefined
    if (reserved) throw reserved
    const answer = await this.#next.request({ ...question, as })
    this.#quotas.note(as, answer.headers)
    return answer.status === 429 && answer.url.origin === url.origin ? this.#noted(answer, gates) : answer
  }

  /** While there are two quotas, the one that pulls are counted by. */
  get #counted(): Asker {
    return this.#options.account?.isPaused === false ? 'account' : 'anyone'
  }

  /** The refusal of what is for nobody, where only the last pulls are left. */
  #reservedOf(as: Asker): UpstreamError | undefined {
    const { upstream, reserve = 0 } = this.#options
    const left = this.#quotas.left(as)
    if (!left || left.pulls > reserve) return undefined
    return reservedForPeople(upstream, { left: left.pulls, reserve, retryAfterSeconds: left.seconds })
  }

  /** The gates that a question has to pass; a 429 to it closes the last one. */
  #gatesOf({ method, path }: Question, as: Asker): RateLimitGate[] {
    if (as === 'account') return [this.#account]
    const isOfHeads = this.#options.account && method === 'HEAD' && path.startsWith('manifests/')
    return isOfHeads ? [this.#anyone, this.#heads] : [this.#anyone]
  }

  /** The same answer, of which the body is read. */
  async #noted(answer: Answer, gates: readonly RateLimitGate[]): Promise<Answer> {
    const { upstream, logger } = this.#options
    const seconds = parseRetryAfter(answer.headers['retry-after'])
    const bytes = await readBody(answer, upstream, maximumErrorBytes).catch(() => Buffer.alloc(0))
    gates.at(-1)?.block(/pull rate limit/i.test(bytes.toString()) ? 'pulls' : 'all', seconds)
    logger.warn({ upstream, retryAfterSeconds: seconds }, 'upstream limits our requests')
    return { ...answer, discard: () => {} }
  }
}
