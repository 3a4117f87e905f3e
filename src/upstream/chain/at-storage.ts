import type { AnswerCounts } from '../answer-counts.ts'
import type { Sender } from '../connections/transport.ts'
import { elsewhere, UpstreamError } from '../error.ts'
import type { Answer, Link, Question } from '../question.ts'
import { StatusToError } from './status-to-error.ts'

export interface AtStorageOptions {
  /** The upstream's name, for errors. */
  readonly upstream: string
  /** Where the upstream lies. */
  readonly url: URL
  readonly counts: AnswerCounts
}

/** A question whose answer lies where a registry has sent us. */
export interface StorageQuestion extends Question {
  /** By a redirect that was followed before, as all rules want it. */
  readonly storage: URL
}

/**
 * Asks storage for what a registry has sent us there before. No credentials go there, and what it answers says nothing about
 * the registry: whether that can be reached, or has tokens for us, is not looked at.
 */
export class AtStorage {
  readonly #transport: Sender
  readonly #options: AtStorageOptions

  constructor(transport: Sender, options: AtStorageOptions) {
    this.#transport = transport
    this.#options = options
  }

  /** Throws UpstreamError, that of another host than the registry's own. */
  request({ storage, ...question }: StorageQuestion): Promise<Answer> {
    const link: Link = { request: (asked) => this.#send(storage, asked) }
    return new StatusToError(link, { ...this.#options, onServed: () => {} }).request(question)
  }

  async #send(url: URL, question: Question): Promise<Answer> {
    const { method, headers = {}, signal, pace, isLent, as = 'anyone' } = question
    const request = {
      method,
      url,
      headers,
      signal,
      pace,
      isLent,
      redirects: { authorize: async () => undefined },
    }
    try {
      const response = await this.#transport.request(request)
      this.#options.counts.note(question, response.status)
      return { ...response, as }
    } catch (error) {
      throw error instanceof UpstreamError && !error.isElsewhere ? elsewhere(error, url) : error
    }
  }
}
