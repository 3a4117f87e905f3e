import type { TagLists } from '../../mirror/tag-lists.ts'
import { formatNextLink } from '../../oci/link.ts'
import { parsePageQuery, withoutNamespace } from '../../oci/page-query.ts'
import type { Visibility } from '../../registry/visibility.ts'
import { type Answerer, cacheHeader } from './question.ts'

/** Lists of tags (distribution-spec end-8). The query of the upstream's next page goes out and comes back as it is. */
export function tagsRoute({
  tagLists,
  visibility,
}: {
  tagLists: TagLists
  visibility: Visibility
}): Answerer<'tags'> {
  return async ({ request, reply, url, target: { name }, repository }) => {
    const { url: rawUrl = '' } = request.raw
    const page = parsePageQuery(rawUrl)
    // The upstream's own answer tells whether the repository exists, also for an empty page.
    const { tags, next, status, fetchedAt } = await tagLists.list(repository, page)
    await visibility.assertServable(repository, { status, checkedAt: fetchedAt })
    if (next !== undefined && page.n !== 0) {
      const namespace = url.namespace === undefined ? [] : [`ns=${encodeURIComponent(url.namespace)}`]
      reply.header('link', formatNextLink(url.path, [withoutNamespace(next), ...namespace].join('&')))
    }
    reply.header(cacheHeader, status).type('application/json; charset=utf-8')
    reply.send(JSON.stringify({ name, tags: page.n === 0 ? [] : tags }))
  }
}
