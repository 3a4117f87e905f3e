import type { AnswerCounts } from '../answer-counts.ts'
import type { Sender } from '../connections/transport.ts'
import { type Answer, apiUrl, type Link, type Question } from '../question.ts'
import type { Account } from '../tokens/account.ts'
import type { Sites } from '../tokens/sites.ts'

export interface WithTokensOptions {
  /** Where the upstream's `/v2/` lies. */
  readonly url: URL
  readonly sites: Sites
  readonly account: Account | undefined
  readonly counts: AnswerCounts
}

/** Brings each registry on the way the token that it wants, and goes again where that is not yet the right one. */
export class WithTokens implements Link {
  readonly #transport: Sender
  readonly #options: WithTokensOptions

  constructor(transport: Sender, options: WithTokensOptions) {
    this.#transport = transport
    this.#options = options
  }

  /** Goes the whole way again with each answer to a challenge: what is signed on it may be good for once only. */
  async request(question: Question): Promise<Answer> {
    const { url: base, sites, account, counts } = this.#options
    const {
      method,
      repository,
      path,
      headers,
      signal,
      pace,
      isLent,
      as = 'anyone',
      onRedirect,
      onStorage,
    } = question
    const url = apiUrl(base, `${repository}/${path}`)
    using passes = sites.ask({ repository, account: as === 'account' ? account : undefined, signal })
    for (;;) {
      const authorization = await passes.authorize(url, false)
      const response = await this.#transport.request({
        method,
        url,
        headers: { ...headers, ...(authorization === undefined ? {} : { authorization }) },
        signal,
        pace,
        isLent,
        redirects: {
          // Another registry has not yet said a word.
          keep: (next) => question.keepRedirect === true && !sites.isRegistry(next),
          authorize: (next, isAway) => {
            onRedirect?.()
            if (isAway && !sites.isRegistry(next)) onStorage?.(next)
            return passes.authorize(next, isAway)
          },
        },
      })
      counts.note(question, response.status)
      passes.noteAnswer(response)
      if (response.status !== 401 || !(await passes.answer(response))) return { ...response, as }
      response.discard()
    }
  }
}
