import { formatNextLink } from '../../oci/link.ts'
import { parsePageQuery, withoutNamespace } from '../../oci/page-query.ts'
import type { ServedTagPage } from '../../registry/repository.ts'
import { describeServed } from '../describe-served.ts'
import { type DocumentsOptions, withRoom } from '../large-answers.ts'
import type { Question } from '../question.ts'
import type { Route } from '../routing.ts'

/** Lists of tags (distribution-spec end-8). The query of the next page goes out and comes back as it is. */
export function tagRoutes(options: DocumentsOptions): readonly Route<'tags'>[] {
  return (['GET', 'HEAD'] as const).map((method) => ({
    kind: 'tags',
    method,
    action: 'pull',
    answer: (question) => answer(options, question),
  }))
}

async function answer(
  { documents }: DocumentsOptions,
  { context, reply, url, target, repository }: Question<'tags'>,
): Promise<void> {
  const page = parsePageQuery(context.request.url ?? '')
  // That the repository exists is told by its own answer, also for an empty page.
  const ask = () => repository.tags(page, context.asker)
  const asked = { ask, bytesOf: bytesOfTags, again: () => ask }
  const { tags, next, ...served } = await withRoom(asked, context, documents)
  if (next !== undefined && page.n !== 0) {
    const namespace = url.namespace === undefined ? [] : [`ns=${encodeURIComponent(url.namespace)}`]
    const path = context.publicAddress.linkTo(url.path)
    reply.header('link', formatNextLink(path, [withoutNamespace(next), ...namespace].join('&')))
  }
  describeServed(reply, served, served.doubt)
  reply.type('application/json; charset=utf-8')
  reply.send(JSON.stringify({ name: target.name, tags: page.n === 0 ? [] : tags }))
}

/** About, as JSON. */
function bytesOfTags({ tags }: ServedTagPage): number {
  return tags.reduce((sum, tag) => sum + tag.length + 3, 0)
}
