import { formatNextLink } from '../../oci/link.ts'
import { parsePageQuery } from '../../oci/page-query.ts'
import type { RepositoryPage } from '../../registry/repository-lists.ts'
import { type DocumentsOptions, withRoom } from '../large-answers.ts'
import type { Question } from '../question.ts'
import type { RequestContext } from '../request-context.ts'
import type { Route } from '../routing.ts'

export interface CatalogRoutesOptions extends DocumentsOptions {
  readonly repositories: {
    /**
     * A page of what can be pulled from here, under names by which it can be asked for in the same way. Throws
     * RegistryError NAME_INVALID (400) and NAME_UNKNOWN (404) where that way names no upstream.
     */
    list(
      asked: {
        readonly namespace: string | undefined
        readonly prefix: string | undefined
        readonly host: string | undefined
      },
      page: {
        readonly after: string | undefined
        readonly limit: number
        readonly isAllowed: (name: string) => boolean
      },
      options: RequestContext['asker'],
    ): Promise<RepositoryPage>
  }
}

/** Repositories of a page: where nobody asks for another number, and at most. Each is looked for on its own. */
const defaultPage = 1000
const maximumPage = 10_000

/** The names of the repositories (Docker's registry API, `GET /v2/_catalog`): local ones, and mirrored ones that are cached. */
export function catalogRoutes(options: CatalogRoutesOptions): readonly Route<'catalog'>[] {
  return (['GET', 'HEAD'] as const).map((method) => ({
    kind: 'catalog',
    method,
    action: 'pull',
    answer: (question) => answer(options, question),
  }))
}

async function answer(
  { repositories, documents }: CatalogRoutesOptions,
  { context, reply, url, asker }: Question<'catalog'>,
): Promise<void> {
  const { n = defaultPage, last } = parsePageQuery(context.request.url ?? '')
  const limit = Math.min(n, maximumPage)
  const { namespace, prefix } = url
  const asked = { namespace, prefix, host: context.request.headers.host }
  const isAllowed = (name: string) => asker.may('pull', name)
  const ask = () => repositories.list(asked, { after: last, limit, isAllowed }, context.asker)
  const page = await withRoom({ ask, bytesOf, again: () => ask }, context, documents)
  const names = page.repositories.map(({ name }) => name)
  const end = names.at(-1)
  if (page.hasMore && end !== undefined) {
    const query = new URLSearchParams({
      n: String(limit),
      last: end,
      ...(namespace === undefined ? {} : { ns: namespace }),
    })
    reply.header('link', formatNextLink(context.publicAddress.linkTo(url.path), query.toString()))
  }
  reply.type('application/json; charset=utf-8')
  reply.send(JSON.stringify({ repositories: names }))
}

/** About, as JSON. */
function bytesOf({ repositories }: RepositoryPage): number {
  return repositories.reduce((sum, { name }) => sum + name.length + 3, 0)
}
