import type { FastifyReply } from 'fastify'
import type { MirroredRepository } from '../../mirror/manifests.ts'
import type { Referrers, ServedReferrers } from '../../mirror/referrers.ts'
import { RegistryError } from '../../oci/error.ts'
import { formatNextLink } from '../../oci/link.ts'
import { manifestMediaTypes } from '../../oci/media-type.ts'
import { filterReferrers, formatReferrers } from '../../oci/referrers.ts'
import type { Visibility } from '../../registry/visibility.ts'
import { UpstreamError } from '../../upstream/error.ts'
import { type Answerer, cacheHeader } from './question.ts'

/** Where a page begins; only our own links have it. */
const skipParameter = 'skip'

interface Options {
  readonly referrers: Referrers
  readonly visibility: Visibility
}

/** What refers to a manifest (distribution-spec end-12); always an index, with the filter applied here. */
export function referrersRoute({ referrers, visibility }: Options): Answerer<'referrers'> {
  return async ({ request, reply, url, target: { digest }, repository }) => {
    const skip = parseSkip(url.query.get(skipParameter))
    // A "+" that nobody encoded arrives as a space, which no media type has.
    const given = url.query.getAll('artifactType').map((type) => type.replaceAll(' ', '+'))
    const artifactTypes = given.filter((type) => type !== '')
    const listed = await referrers.list(repository, digest)
    const served = (await isServable(visibility, repository, listed)) ? listed : withheld(listed)
    const { body, next } = formatReferrers(filterReferrers(served.referrers, artifactTypes), skip)
    if (artifactTypes.length > 0) reply.header('oci-filters-applied', 'artifactType')
    if (next !== undefined) {
      const query = new URLSearchParams(url.query)
      query.set(skipParameter, String(next))
      const [path = ''] = (request.raw.url ?? '').split('?')
      reply.header('link', formatNextLink(path, query.toString()))
    }
    describeFreshness(reply, served)
    // The type without a charset: clients compare it to the letter.
    reply.header('content-type', manifestMediaTypes.ociIndex).header('content-length', body.length)
    reply.send(body)
  }
}

async function isServable(
  visibility: Visibility,
  repository: MirroredRepository,
  listed: ServedReferrers,
): Promise<boolean> {
  try {
    await visibility.assertServable(repository, listed)
    return true
  } catch (error) {
    if (error instanceof UpstreamError) return false
    throw error
  }
}

/** What may have turned private since is not shown; that there is an answer holds all the same. */
function withheld({ status }: ServedReferrers): ServedReferrers {
  return { referrers: [], status, checkedAt: undefined, doubt: 'who may read them is not known now' }
}

/** RFC 9111 5.1, 5.5; distribution-spec "Warnings". */
function describeFreshness(reply: FastifyReply, { status, checkedAt, doubt }: ServedReferrers): void {
  reply.header(cacheHeader, status)
  if (checkedAt !== undefined) reply.header('age', Math.max(0, Math.round((Date.now() - checkedAt) / 1000)))
  if (doubt === undefined) return
  const since =
    checkedAt === undefined ? 'nothing is known' : `known since ${new Date(checkedAt).toISOString()}`
  const reason = doubt.slice(0, 300).replaceAll(/[^ !#-[\]-~]/g, '?')
  reply.header('warning', `299 - "there may be more referrers than these (${since}): ${reason}"`)
}

function parseSkip(text: string | null): number {
  if (text === null) return 0
  if (/^\d{1,7}$/.test(text)) return Number(text)
  throw new RegistryError('PAGINATION_NUMBER_INVALID', `${skipParameter} must be a number`)
}
