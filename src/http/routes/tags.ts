import type { TagLists } from '../../cache/tag-lists.ts'
import { RegistryError } from '../../oci/error.ts'
import { formatNextLink } from '../../oci/link.ts'
import { type Answerer, cacheHeader } from './question.ts'

const maximumPageSize = 10_000

/** Lists of tags (distribution-spec end-8). */
export function tagsRoute({ tagLists }: { tagLists: TagLists }): Answerer<'tags'> {
  return async ({ reply, url, target: { name }, repository }) => {
    const n = parsePageSize(url.query.get('n'))
    const last = url.query.get('last') ?? undefined
    // The upstream's own answer tells whether the repository exists, also for an empty page.
    const page = { ...(n === undefined ? {} : { n }), ...(last === undefined ? {} : { last }) }
    const { tags, next, status } = await tagLists.list(repository, page)
    if (next !== undefined && n !== 0) {
      const parameters = { ...(url.namespace === undefined ? {} : { ns: url.namespace }), last: next }
      const link = formatNextLink(`/v2/${name}/tags/list`, { n: String(n ?? tags.length), ...parameters })
      reply.header('link', link)
    }
    reply.header(cacheHeader, status).type('application/json; charset=utf-8')
    reply.send(JSON.stringify({ name, tags: n === 0 ? [] : tags }))
  }
}

/** `n` of a paged list (end-8b). Throws RegistryError PAGINATION_NUMBER_INVALID (400). */
function parsePageSize(text: string | null): number | undefined {
  if (text === null) return undefined
  const n = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (n <= maximumPageSize) return n
  throw new RegistryError('PAGINATION_NUMBER_INVALID', `n must be a number from 0 to ${maximumPageSize}`)
}
