import type { Logger } from 'pino'
import { within } from '../flow/abortable.ts'
import type { Expiring, OpenExpiring } from '../flow/expiring.ts'
import type { FoundRepository } from '../oci/search-results.ts'
import { reasonOf, UpstreamError } from '../upstream/error.ts'
import type { Asking } from '../upstream/question.ts'
import type { RegistryClient } from '../upstream/registry-client.ts'
import type { SearchClient } from '../upstream/search-client.ts'
import { SharedQuestions } from './shared-questions.ts'

export interface UpstreamSearchOptions {
  readonly upstream: Pick<RegistryClient, 'name' | 'isSilent' | 'turns'>
  readonly client: Pick<SearchClient, 'search'>
  readonly expiring: OpenExpiring
  /** Milliseconds for which an answer is trusted (`cache.revalidate`). */
  readonly revalidateMs: number
  /** Milliseconds for which nothing is asked after a failure (`cache.negative`). */
  readonly negativeMs: number
  readonly logger: Logger
}

const budget = {
  entries: 1000,
  bytes: 8 * 1024 * 1024,
  sizeOf: (found: readonly FoundRepository[]) =>
    found.reduce((sum, { name, description }) => sum + 2 * (name.length + description.length) + 100, 0),
}

/** What an upstream finds when it is searched: an addition to what is here, and never worth a long wait. */
export class UpstreamSearch {
  readonly #options: UpstreamSearchOptions
  readonly #kept: Expiring<readonly FoundRepository[]>
  readonly #questions = new SharedQuestions<readonly FoundRepository[]>()
  /** Milliseconds of `performance.now()`. */
  #silentUntil = 0

  constructor(options: UpstreamSearchOptions) {
    this.#options = options
    this.#kept = options.expiring('search', budget)
  }

  /** The upstream's name. */
  get name(): string {
    return this.#options.upstream.name
  }

  /**
   * Nothing where it cannot be reached, fails, or takes longer than so many milliseconds: then its answer is there for
   * the next one who asks. Rejects with the reason of the signal alone.
   */
  async find(
    term: string,
    { patienceMs, signal, client }: Asking & { readonly patienceMs: number },
  ): Promise<readonly FoundRepository[]> {
    const { upstream } = this.#options
    const kept = await this.#kept.get(term)
    if (kept) return kept
    if (upstream.isSilent || performance.now() < this.#silentUntil) return []
    // It goes on whoever leaves.
    const asking = this.#questions.ask(term, { upstream }, (asked) => this.#ask(term, asked), { client })
    return (await within(asking.catch(this.#failed), patienceMs, signal)) ?? []
  }

  async #ask(term: string, { signal }: Asking): Promise<readonly FoundRepository[]> {
    const { client, revalidateMs } = this.#options
    const found = await client.search(term, signal)
    await this.#kept.set(term, found, revalidateMs)
    return found
  }

  /** What failed fails for the next ones as well: a registry that cannot be searched, or a line that is cut. */
  readonly #failed = (error: unknown): readonly FoundRepository[] => {
    const { upstream, negativeMs, logger } = this.#options
    if (!(error instanceof UpstreamError)) throw error
    this.#silentUntil = performance.now() + negativeMs
    const reason = reasonOf(error, upstream.name)
    logger.info(
      { upstream: upstream.name, reason },
      'the upstream could not be searched: what is here is told',
    )
    return []
  }
}
