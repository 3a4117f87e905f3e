import { RegistryError } from '../../oci/error.ts'
import type { SearchResult } from '../../registry/search.ts'
import type { Question } from '../question.ts'
import type { RequestContext } from '../request-context.ts'
import type { Route } from '../routing.ts'

export interface SearchRoutesOptions {
  readonly repositories: {
    /** What can be pulled from here and has the term in its name, the best first. Throws RegistryError as `list` does. */
    search(
      term: string,
      asked: {
        readonly namespace: string | undefined
        readonly prefix: string | undefined
        readonly host: string | undefined
      },
      options: RequestContext['asker'] & { readonly isAllowed: (name: string) => boolean },
    ): Promise<SearchResult[]>
  }
}

/** Results of a page: as Docker asks for them, and the most that it does. */
const [defaultPage, maximumPage] = [25, 100]
/** Characters; no name is longer. */
const maximumTerm = 255

/** What `docker search HOST/TERM` and `podman search HOST/TERM` ask (Docker's registry API v1). */
export function searchRoutes(options: SearchRoutesOptions): readonly (Route<'ping'> | Route<'search'>)[] {
  const methods = ['GET', 'HEAD'] as const
  const answer = (question: Question<'search'>) => answerSearch(options, question)
  return [
    ...methods.map((method): Route<'ping'> => ({ kind: 'ping', method, action: 'pull', answer: answerPing })),
    ...methods.map((method): Route<'search'> => ({ kind: 'search', method, action: 'pull', answer })),
  ]
}

/** That it has its users itself: Docker sends a login for this registry along, and asks no index for a token. */
async function answerPing({ reply }: Question<'ping'>): Promise<void> {
  reply.header('x-docker-registry-standalone', 'true').type('application/json; charset=utf-8')
  reply.send(JSON.stringify({ standalone: true }))
}

async function answerSearch(
  { repositories }: SearchRoutesOptions,
  { context, reply, url, asker }: Question<'search'>,
): Promise<void> {
  const query = url.query.get('q') ?? ''
  if (query.length > maximumTerm) {
    throw new RegistryError('UNSUPPORTED', `q has more than ${maximumTerm} characters`, { status: 414 })
  }
  const size = Math.min(numberIn(url.query, 'n') || defaultPage, maximumPage)
  const page = numberIn(url.query, 'page') || 1
  const { namespace, prefix } = url
  const asked = { namespace, prefix, host: context.request.headers.host }
  const isAllowed = (name: string) => asker.may('pull', name)
  const found = await repositories.search(query, asked, { ...context.asker, isAllowed })
  const results = found.slice((page - 1) * size, page * size)
  reply.type('application/json; charset=utf-8')
  reply.send(
    JSON.stringify({
      query,
      num_pages: Math.ceil(found.length / size),
      num_results: found.length,
      page,
      page_size: size,
      results: results.map(({ name, description, stars, isOfficial }) => ({
        name,
        description,
        star_count: stars,
        is_official: isOfficial,
        is_trusted: false,
        is_automated: false,
      })),
    }),
  )
}

/** Undefined where it is not given. */
function numberIn(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name)
  if (text === null || text === '') return undefined
  if (/^\d{1,6}$/.test(text)) return Number(text)
  throw new RegistryError('PAGINATION_NUMBER_INVALID', `${name} must be a number of one to six digits`)
}
