import { elsewhere, failureOfStatus, rateLimited } from '../error.ts'
import type { Answer, Link, Question } from '../question.ts'
import { parseRetryAfter, toldRetryAfter } from '../rate-limit.ts'

export interface StatusToErrorOptions {
  /** The upstream's name, for errors. */
  readonly upstream: string
  /** Where it lies: the failures of others are told by their names. */
  readonly url: URL
  /** Called with each answer that has what was asked for. */
  readonly onServed: (answer: Answer) => void
}

/** Turns every status but 2xx into an UpstreamError, and so a redirect, unless it is to be kept. */
export class StatusToError implements Link {
  readonly #next: Link
  readonly #options: StatusToErrorOptions

  constructor(next: Link, options: StatusToErrorOptions) {
    this.#next = next
    this.#options = options
  }

  async request(question: Question): Promise<Answer> {
    const { upstream, url, onServed } = this.#options
    const answer = await this.#next.request(question)
    const { status, headers } = answer
    const isKept = question.keepRedirect && headers.location !== undefined
    if (status >= 200 && status < (isKept ? 400 : 300)) {
      onServed(answer)
      return answer
    }
    answer.discard()
    const failure =
      status === 429
        ? (answer.limit ?? rateLimited(upstream, parseRetryAfter(headers['retry-after'])))
        : failureOfStatus(upstream, status, toldRetryAfter(headers['retry-after']))
    throw answer.url.origin === url.origin ? failure : elsewhere(failure, answer.url)
  }
}
