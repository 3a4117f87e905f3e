import { LRUCache } from 'lru-cache'
import { type Holdoff, pass, type Trial } from '../../flow/holdoff.ts'
import type { TransportResponse } from '../connections/exchange.ts'
import { elsewhere, rateLimited, UpstreamError } from '../error.ts'
import { toldRetryAfter } from '../rate-limit.ts'
import { limitOfAll, trialPatienceMs } from '../rate-limit-gate.ts'
import { repositoryOfUrl } from './scope.ts'
import type { Caller, TokenSource } from './token-source.ts'

interface Asked extends Caller {
  /** The upstream's name, for errors. */
  readonly upstream: string
  readonly patienceMs: number
}

interface Stop {
  readonly site: Site
  readonly caller: Caller
  readonly key: string
}

/** A registry that answers for an upstream. */
interface Site {
  readonly tokens: TokenSource
  /** Undefined for the upstream itself, which has limits of its own. */
  readonly limit: Holdoff | undefined
}

export interface SitesOptions {
  /** The upstream's name, for errors. */
  readonly upstream: string
  /** Where the upstream itself lies. */
  readonly url: URL
  readonly tokens: TokenSource
  /** Milliseconds without a sign of life after which nobody waits for an answer any more. */
  readonly patienceMs: number
  /** Makes the tokens of another registry, at `origin`. */
  readonly tokensAt: (origin: URL) => TokenSource
}

/** Registries that an upstream may lead to; the least recently used are forgotten. */
const maximumSites = 32
/** Answers to challenges in one question, at all registries together. */
const maximumAnswers = 5

/**
 * The registries that answer for an upstream: itself, and others that it redirects to (front registries such as
 * lscr.io). Each has tokens and a rate limit of its own; the operator's account belongs to the upstream alone.
 */
export class Sites {
  readonly #options: SitesOptions
  readonly #others = new LRUCache<string, Site>({ max: maximumSites })

  constructor(options: SitesOptions) {
    this.#options = options
  }

  /** Whether a URL leads to the upstream itself. */
  isOwn(url: URL): boolean {
    return url.origin === this.#options.url.origin
  }

  /** Whether a URL leads to a registry, and not to storage. */
  isRegistry(url: URL): boolean {
    return repositoryOfUrl(url) !== undefined
  }

  /** The registry at `url`. */
  at(url: URL): Site {
    const { tokens, tokensAt } = this.#options
    if (this.isOwn(url)) return { tokens, limit: undefined }
    const known = this.#others.get(url.origin)
    if (known) return known
    const site = { tokens: tokensAt(new URL(url.origin)), limit: limitOfAll() }
    this.#others.set(url.origin, site)
    return site
  }

  /** Begins a question to the upstream; `repository` is undefined for `/v2/` itself. */
  ask(caller: Caller): SiteQuestion {
    return new SiteQuestion(this, { ...caller, ...this.#options })
  }
}

/**
 * The tokens of one question on its way through registries, and its answers to their challenges. What is neither
 * the upstream itself nor looks like a registry's API gets nothing. Dispose of it when it was answered.
 */
class SiteQuestion implements Disposable {
  readonly #sites: Sites
  readonly #asked: Asked
  /** What each registry is brought, and how many answers it had, by origin, repository and account. */
  readonly #passes = new Map<string, { authorization: string | undefined; tries: number }>()
  /** Where the question is; undefined at storage. */
  #stop: Stop | undefined
  #answers = 0
  /** Whether another registry's limit is over, which this question finds out for others. */
  #trial: Trial | undefined
  /** When it was sent there, in milliseconds of `performance.now()`. */
  #askedAt = 0

  constructor(sites: Sites, asked: Asked) {
    this.#sites = sites
    this.#asked = asked
  }

  /**
   * The header to bring to `url`. `isAway`: others had a say in where we are sent, hence the account stays out.
   * Throws UpstreamError RATE_LIMITED while that registry has told us to wait, and as `TokenSource` does.
   */
  async authorize(url: URL, isAway: boolean): Promise<string | undefined> {
    this.#stop = this.#stopAt(url, isAway)
    if (!this.#stop) return undefined
    const { site, caller, key } = this.#stop
    if (site.limit) await this.#pass(site.limit, url)
    const known = this.#passes.get(key)
    if (known) return known.authorization
    const authorization = await this.#at(url, site.tokens.authorization(caller))
    this.#passes.set(key, { authorization, tries: 0 })
    return authorization
  }

  /** Answers a 401, for another try of the whole way. False where nothing is left to try. Throws as `TokenSource`. */
  async answer({ url, headers }: TransportResponse): Promise<boolean> {
    if (!this.#stop || this.#answers === maximumAnswers) return false
    this.#answers += 1
    const { site, caller, key } = this.#stop
    const { authorization: used, tries } = this.#passes.get(key) ?? { authorization: undefined, tries: 0 }
    const challenge = headers['www-authenticate']
    const authorization = await this.#at(url, site.tokens.answerChallenge(challenge, caller, { used, tries }))
    if (authorization === undefined) return false
    this.#passes.set(key, { authorization, tries: tries + 1 })
    return true
  }

  /** What came of it: a 429 of another registry is about that one. */
  noteAnswer({ url, status, headers }: TransportResponse): void {
    if (this.#sites.isOwn(url) || !this.#sites.isRegistry(url)) return
    if (status !== 429) return void this.#trial?.worked()
    const seconds = toldRetryAfter(headers['retry-after'])
    const forMs = seconds === undefined ? undefined : seconds * 1000
    this.#sites.at(url).limit?.hold(forMs, this.#askedAt)
  }

  [Symbol.dispose](): void {
    this.#trial?.[Symbol.dispose]()
  }

  /** Throws UpstreamError RATE_LIMITED while another registry has told us to wait. */
  async #pass(limit: Holdoff, url: URL): Promise<void> {
    const { upstream, patienceMs, signal } = this.#asked
    this.#trial?.[Symbol.dispose]()
    const passage = await pass([limit], { patienceMs: trialPatienceMs(patienceMs), signal })
    if (!passage.isOpen)
      throw elsewhere(rateLimited(upstream, Math.max(1, Math.ceil(limit.leftMs / 1000))), url)
    this.#trial = passage.trial
    this.#askedAt = performance.now()
  }

  #stopAt(url: URL, isAway: boolean): Stop | undefined {
    const isHome = this.#sites.isOwn(url) && !isAway
    const repository = repositoryOfUrl(url) ?? (isHome ? this.#asked.repository : undefined)
    if (repository === undefined && !isHome) return undefined
    const account = isHome ? this.#asked.account : undefined
    const key = `${url.origin} ${repository} ${account !== undefined}`
    return { site: this.#sites.at(url), caller: { repository, account, signal: this.#asked.signal }, key }
  }

  async #at<Value>(url: URL, answer: Promise<Value>): Promise<Value> {
    if (this.#sites.isOwn(url)) return answer
    return answer.catch((error: unknown) => {
      throw error instanceof UpstreamError ? elsewhere(error, url) : error
    })
  }
}
