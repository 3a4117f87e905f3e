import { dockerHub } from '../names/docker-hub.ts'
import { RegistryError } from '../oci/error.ts'
import { type FoundRepository, parseSearchResults } from '../oci/search-results.ts'
import { readBody } from './connections/read-body.ts'
import { Transport, type TransportOptions } from './connections/transport.ts'
import { failureOfStatus, rateLimited } from './error.ts'
import { parseRetryAfter } from './rate-limit.ts'
import { unreadable } from './web-page.ts'

/** Where Docker Hub answers searches; its registry does not. */
const searchOfHub = new URL('https://index.docker.io')
/** Results that are asked for, the most that Docker Hub gives at once, and bytes that they may have. */
const [asked, maximumBytes] = [100, 1024 * 1024]

/**
 * Searches Docker Hub as `docker search` does, or the mirror that stands before it. Nobody's login is sent along: what
 * is found is for everybody.
 */
export class SearchClient implements Disposable {
  readonly #name: string
  readonly #url: URL
  readonly #transport: Transport

  /** `url`: of the registry. */
  constructor(options: TransportOptions) {
    const { upstream, url } = options
    const isHub = url.origin === dockerHub.url
    this.#name = upstream
    this.#url = new URL(isHub ? searchOfHub : url)
    this.#url.pathname = `${this.#url.pathname.replace(/\/$/, '')}/v1/search`
    this.#url.search = new URLSearchParams({
      n: String(asked),
      // A mirror tells of all that it has: of Docker Hub's alone, under the names that they have there.
      ...(isHub ? {} : { ns: upstream }),
    }).toString()
    this.#transport = new Transport({ ...options, url: this.#url })
  }

  /** What is found first, a hundred at most. Throws UpstreamError. */
  async search(term: string, signal?: AbortSignal): Promise<FoundRepository[]> {
    const url = new URL(this.#url)
    url.searchParams.set('q', term)
    const answer = await this.#transport.request({ method: 'GET', url, signal })
    if (answer.status !== 200) {
      answer.discard()
      if (answer.status === 429) throw rateLimited(this.#name, parseRetryAfter(answer.headers['retry-after']))
      throw failureOfStatus(this.#name, answer.status)
    }
    const bytes = await readBody(answer, this.#name, maximumBytes)
    try {
      return parseSearchResults(bytes)
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error
      throw unreadable(this.#name, answer.headers['content-type'], error.message, error)
    }
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]()
  }
}
