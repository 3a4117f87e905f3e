import type { TransportResponse } from './connections/exchange.ts'
import type { Sender } from './connections/transport.ts'
import { reasonOf, UpstreamError } from './error.ts'
import { type Answer, apiUrl } from './question.ts'
import { isBack, judgeRegistry, type RegistryCheck } from './registry-check.ts'
import type { Account } from './tokens/account.ts'
import type { Sites } from './tokens/sites.ts'
import { isHtml } from './web-page.ts'

export interface RegistryProbeOptions {
  /** The upstream's name, for errors. */
  readonly upstream: string
  /** Where its `/v2/` lies. */
  readonly url: URL
  readonly transport: Sender
  readonly sites: Sites
  readonly account: Account | undefined
}

/** Asks what answers where an upstream should be. A question of nobody in particular: that it wants a token is an answer. */
export class RegistryProbe {
  readonly #options: RegistryProbeOptions
  #last: RegistryCheck | undefined
  #hasServed = false

  constructor(options: RegistryProbeOptions) {
    this.#options = options
  }

  /** Remembers that it gave content, whatever it says of itself. */
  noteServed(answer: Answer): void {
    this.#hasServed ||= !isHtml(answer.headers['content-type'])
  }

  /** What answers, and whether that takes the account. Throws UpstreamError where nothing does. */
  async check(signal: AbortSignal): Promise<RegistryCheck> {
    const { url, transport } = this.#options
    const response = await transport.request({ method: 'GET', url: apiUrl(url, ''), signal })
    const check = await judgeRegistry(response, url)
    this.#last = check
    this.#noteChallenge(response)
    if (check.state !== 'registry') return check
    const challenge = response.status === 401 ? response : undefined
    return (await this.#problemOfAccount(response.url, challenge, signal)) ?? check
  }

  /** Rejects while nothing answers, or something else does, such as the login page of a network. */
  async assertBack(signal: AbortSignal): Promise<void> {
    const { upstream, url, transport } = this.#options
    const response = await transport.request({ method: 'GET', url: apiUrl(url, ''), signal })
    const check = await judgeRegistry(response, url)
    if (!isBack(check, this.#last, this.#hasServed))
      throw new UpstreamError('UNREACHABLE', upstream, check.sentence)
    this.#last = check
    this.#noteChallenge(response)
  }

  /** The first question about a repository need not be refused to learn what is wanted of us. */
  #noteChallenge({ status, url, headers }: TransportResponse): void {
    const { sites } = this.#options
    if (status === 401 && sites.isOwn(url)) sites.at(url).tokens.presume(headers['www-authenticate'])
  }

  async #problemOfAccount(
    url: URL,
    challenge: Parameters<ReturnType<Sites['ask']>['answer']>[0] | undefined,
    signal: AbortSignal,
  ): Promise<RegistryCheck | undefined> {
    const { account, sites, upstream } = this.#options
    if (!account) return undefined
    try {
      const passes = sites.ask({ repository: undefined, account, signal })
      await passes.authorize(url, false)
      if (challenge) await passes.answer(challenge)
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      // Some token services refuse everybody who names no repository.
      if (error.isRefusal) return undefined
      return { state: 'registry', sentence: `answers, but gives no token: ${reasonOf(error, upstream)}` }
    }
    if (!account.isRefused) return undefined
    const sentence = 'answers, and refuses the configured user name and password, going on anonymously'
    return { state: 'registry', sentence }
  }
}
