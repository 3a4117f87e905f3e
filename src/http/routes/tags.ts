import { formatNextLink } from '../../oci/link.ts'
import { parsePageQuery, withoutNamespace } from '../../oci/page-query.ts'
import { describeServed } from '../describe-served.ts'
import type { Question } from '../question.ts'
import type { Route } from '../routing.ts'

/** Lists of tags (distribution-spec end-8). The query of the next page goes out and comes back as it is. */
export const tagRoutes: readonly Route<'tags'>[] = [
  { kind: 'tags', method: 'GET', action: 'pull', answer },
  { kind: 'tags', method: 'HEAD', action: 'pull', answer },
]

async function answer({ context, reply, url, target, repository }: Question<'tags'>): Promise<void> {
  const page = parsePageQuery(context.request.url ?? '')
  // That the repository exists is told by its own answer, also for an empty page.
  const { tags, next, ...served } = await repository.tags(page, { signal: context.signal })
  if (next !== undefined && page.n !== 0) {
    const namespace = url.namespace === undefined ? [] : [`ns=${encodeURIComponent(url.namespace)}`]
    reply.header('link', formatNextLink(url.path, [withoutNamespace(next), ...namespace].join('&')))
  }
  describeServed(reply, served, served.doubt)
  reply.type('application/json; charset=utf-8')
  reply.send(JSON.stringify({ name: target.name, tags: page.n === 0 ? [] : tags }))
}
