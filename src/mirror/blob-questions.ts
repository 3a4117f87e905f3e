import { SingleFlight } from '../flow/single-flight.ts'
import type { Digest } from '../oci/digest.ts'
import { failureOfStatus, UpstreamError } from '../upstream/error.ts'
import type { Asking } from '../upstream/question.ts'
import type { Answers } from './answers.ts'
import type { Evidence } from './evidence.ts'
import { SharedQuestions } from './shared-questions.ts'
import type { UpstreamRepository } from './upstream-repository.ts'

export interface BlobQuestionsOptions {
  readonly evidence: Evidence
  readonly answers: Answers
}

/** Asks upstreams whether a repository has a blob, once for all who wait for the same; what they say is remembered. */
export class BlobQuestions {
  readonly #options: BlobQuestionsOptions
  readonly #questions = new SharedQuestions<number | undefined>()
  readonly #recording = new SingleFlight<string, void>()

  constructor(options: BlobQuestionsOptions) {
    this.#options = options
  }

  /**
   * Whether it has a blob whose bytes come by another way: by HEAD, which brings none. Throws UpstreamError, NOT_FOUND
   * among them, in the words of a blob that is not here: that the bytes are is not for everybody to know.
   */
  async assertHas(
    repository: UpstreamRepository,
    digest: Digest,
    { method, ...asking }: Asking & { readonly method?: 'HEAD' },
  ): Promise<void> {
    const { upstream, name } = repository
    await this.#ask(repository, digest, { method, ...asking }, async (asking) => {
      if (await upstream.hasBlob(name, digest, asking)) return undefined
      throw failureOfStatus(upstream.name, 404)
    })
  }

  /** The size of a blob in bytes; undefined where it has it and nobody tells. Throws as `assertHas` does. */
  async size(repository: UpstreamRepository, digest: Digest, query: Asking): Promise<number | undefined> {
    return this.#ask(repository, digest, { method: 'HEAD', ...query }, (asking) =>
      repository.upstream.blobSize(repository.name, digest, asking),
    )
  }

  /** Its upstream has sent bytes of it, which says that it has it. */
  sent(repository: UpstreamRepository, digest: Digest): Promise<void> {
    return this.#recording.run(`${repository.key} ${digest}`, () =>
      this.#options.evidence.confirmed(repository, digest, { as: 'anyone', at: Date.now() }),
    )
  }

  /** Remembers a refusal. What storage that it redirects to refuses says nothing about the blob. */
  async failed(
    repository: UpstreamRepository,
    digest: Digest,
    error: unknown,
    { method, signal }: Asking & { readonly method?: 'HEAD' | undefined } = {},
  ): Promise<void> {
    if (error instanceof UpstreamError && error.isElsewhere && method === undefined) return
    await this.#options.answers.rememberRefusal(repository.key, digest, error, method)
    await this.#options.evidence.heard(repository, error, { signal })
  }

  #ask(
    repository: UpstreamRepository,
    digest: Digest,
    { method, ...query }: Asking & { readonly method: 'HEAD' | undefined },
    question: (asking: Asking) => Promise<number | undefined>,
  ): Promise<number | undefined> {
    const ask = async (asking: Asking): Promise<number | undefined> => {
      try {
        const told = await question(asking)
        await this.sent(repository, digest)
        return told
      } catch (error) {
        await this.failed(repository, digest, error, { method, ...asking })
        throw error
      }
    }
    return this.#questions.ask(`${repository.key} ${digest} ${method}`, repository, ask, query)
  }
}
