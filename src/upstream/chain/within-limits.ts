import type { Logger } from 'pino'
import { type Holdoff, pass } from '../../flow/holdoff.ts'
import { readBody } from '../connections/read-body.ts'
import { reservedForPeople, UpstreamError } from '../error.ts'
import { limitError, type ToldLimit } from '../limit-words.ts'
import { type Answer, type Asker, countsAsPull, isOfManifest, type Link, type Question } from '../question.ts'
import { Quotas, type ToldQuota } from '../quotas.ts'
import { parseRateLimit, type RateLimit, toldRetryAfter } from '../rate-limit.ts'
import { RateLimitGate, trialPatienceMs } from '../rate-limit-gate.ts'
import type { Account } from '../tokens/account.ts'

export interface WithinLimitsOptions {
  /** The upstream's name, for errors and the log. */
  readonly upstream: string
  /** Where it lies: others have limits of their own. */
  readonly url: URL
  readonly account: Pick<Account, 'isPaused'> | undefined
  /** Pulls of a quota that are left to people. */
  readonly reserve?: number | undefined
  /** Milliseconds without a sign of life after which nobody waits for an answer any more. */
  readonly patienceMs: number
  readonly logger: Logger
}

/** What an upstream lets us ask, as far as it told. */
export type Limits = Pick<WithinLimits, 'quotas' | 'isReserved' | 'held'>

/** Bytes of a 429 that are looked at. */
const maximumErrorBytes = 64 * 1024
const doubtful: ToldLimit = { kind: 'all', isTold: false, quota: undefined, at: 0 }

/**
 * Asks nothing while an upstream has told us to wait (429), and then one question first, whose answer decides for all.
 * Docker Hub counts pulls for each account, and for anyone, which its 429 says; any other one is about all requests.
 */
export class WithinLimits implements Link {
  readonly #next: Link
  readonly #options: WithinLimitsOptions
  readonly #gates: Record<Asker, RateLimitGate> = {
    anyone: new RateLimitGate(),
    account: new RateLimitGate(),
  }
  /** Of HEADs as anyone beside an account: a 429 to them does not tell what it is about, and pulls go on without. */
  readonly #heads = new RateLimitGate()
  readonly #quotas = new Quotas()
  /** What began each. */
  readonly #told = new WeakMap<Holdoff, ToldLimit>()

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

  /** Whether nothing is asked of what counts as a pull, or of all, as each of those who ask. */
  get held(): readonly { readonly as: Asker; readonly pulls: boolean; readonly all: boolean }[] {
    const askers: readonly Asker[] = this.#options.account ? ['anyone', 'account'] : ['anyone']
    return askers.map((as) => {
      const { all, manifests, pulls } = this.#gates[as]
      return { as, pulls: pulls.isHeld || manifests.isHeld, all: all.isHeld }
    })
  }

  /**
   * Throws UpstreamError without asking: RATE_LIMITED while one of the gates is closed, RESERVED what is for nobody and
   * would take one of the last pulls. A 429 comes back as it is, with what it means.
   */
  async request(question: Question): Promise<Answer> {
    const { upstream, url, patienceMs, logger } = this.#options
    const { signal, background } = question
    const as = question.as === 'account' ? this.#counted : 'anyone'
    const reserved = countsAsPull(question) && background ? this.#reservedOf(as) : undefined
    if (reserved) {
      logger.debug({ upstream, repository: question.repository, background }, 'a pull is left to people')
      throw reserved
    }
    const gates = this.#gatesOf(question, as)
    const passage = await pass(
      gates.flatMap((gate) => gate.for(question)),
      { patienceMs: trialPatienceMs(patienceMs), signal },
    )
    if (!passage.isOpen) throw limitError(upstream, this.#told.get(passage.by) ?? doubtful, passage.by.leftMs)
    using trial = passage.trial
    const askedAt = performance.now()
    const answer = await this.#next.request({ ...question, as }).catch((error: unknown) => {
      if (error instanceof UpstreamError && error.isElsewhere) this.#worked(trial)
      throw error
    })
    if (isOfManifest(question)) this.#noteQuota(as, answer)
    // Awaited here: others wait until it is known what the answer means.
    if (answer.status === 429 && answer.url.origin === url.origin)
      return await this.#limited(answer, { question, as, askedAt, gate: gates.at(-1) ?? this.#gates[as] })
    this.#worked(trial)
    const { remaining = 0 } = (isOfManifest(question) && parseRateLimit(answer.headers)) || {}
    if (remaining > 0) this.#gates[as].pulls.shorten(askedAt)
    return answer
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
  #gatesOf(question: Question, as: Asker): RateLimitGate[] {
    const isOfHeads = as === 'anyone' && this.#options.account && question.method === 'HEAD'
    return isOfHeads && isOfManifest(question) ? [this.#gates.anyone, this.#heads] : [this.#gates[as]]
  }

  /** The same answer, of which the body is read, and what it means. */
  async #limited(
    answer: Answer,
    { question, as, askedAt, gate }: { question: Question; as: Asker; askedAt: number; gate: RateLimitGate },
  ): Promise<Answer> {
    const { upstream, logger } = this.#options
    const bytes = await readBody(answer, upstream, maximumErrorBytes).catch(() => Buffer.alloc(0))
    const isOfPulls = /pull rate limit/i.test(bytes.toString())
    // A HEAD has no words; where no pulls are left, that is what it is about.
    const isOfNone = question.method === 'HEAD' && this.#quotas.left(as)?.pulls === 0
    const seconds = toldRetryAfter(answer.headers['retry-after'])
    const holdoff = isOfPulls ? gate.pulls : isOfNone ? gate.manifests : gate.all
    const kind = holdoff === gate.all ? 'all' : 'pulls'
    const quota = this.#quotas.last(as)
    const told = { kind, isTold: seconds !== undefined, quota, at: Date.now() } as const
    const isNews = holdoff.hold(seconds === undefined ? undefined : seconds * 1000, askedAt)
    if (isNews || !this.#told.has(holdoff)) this.#told.set(holdoff, told)
    const limit = limitError(upstream, told, holdoff.leftMs)
    const about = { upstream, as, retryAfterSeconds: limit.retryAfterSeconds, reason: limit.message }
    if (isNews && kind === 'pulls')
      logger.warn(about, 'upstream gives no more pulls for now: what is cached is served')
    else if (isNews) logger.warn(about, 'upstream refuses all requests for now: nothing is asked of it')
    return { ...answer, discard: () => {}, limit }
  }

  #noteQuota(as: Asker, { headers }: Answer): void {
    const { upstream, logger } = this.#options
    const news = this.#quotas.note(as, headers)
    if (news) logger.debug({ upstream, as, ...news }, 'upstream counts our pulls by this')
  }

  #worked(trial: { worked(): boolean }): void {
    const { upstream, logger } = this.#options
    if (trial.worked()) logger.info({ upstream }, 'upstream takes requests again')
  }
}
