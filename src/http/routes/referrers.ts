import { formatNextLink } from '../../oci/link.ts'
import { manifestMediaTypes } from '../../oci/media-type.ts'
import { formatReferrers } from '../../oci/referrers.ts'
import type { ServedReferrers } from '../../registry/repository.ts'
import { describeServed } from '../describe-served.ts'
import { type DocumentsOptions, withRoom } from '../large-answers.ts'
import type { Question } from '../question.ts'
import type { Route } from '../routing.ts'

/** Where a page begins; only our own links have it. */
const fromParameter = 'from'

/** What refers to a manifest (distribution-spec end-12); always an index, with the filter applied here. */
export function referrerRoutes(options: DocumentsOptions): readonly Route<'referrers'>[] {
  return (['GET', 'HEAD'] as const).map((method) => ({
    kind: 'referrers',
    method,
    action: 'pull',
    answer: (question) => answer(options, question),
  }))
}

async function answer(
  { documents }: DocumentsOptions,
  { context, reply, url, target, repository }: Question<'referrers'>,
): Promise<void> {
  const from = url.query.get(fromParameter) ?? undefined
  // A "+" that nobody encoded arrives as a space, which no media type has.
  const given = url.query.getAll('artifactType').map((type) => type.replaceAll(' ', '+'))
  const artifactTypes = given.filter((type) => type !== '')
  const ask = async () => {
    const wanted = { artifactTypes, from }
    const { referrers, ...served } = await repository.referrers(target.digest, wanted, context.asker)
    return { served, body: formatReferrers(referrers) }
  }
  const asked = { ask, bytesOf: ({ body }: { body: Uint8Array }) => body.length, again: () => ask }
  const { served, body } = await withRoom(asked, context, documents)
  if (artifactTypes.length > 0) reply.header('oci-filters-applied', 'artifactType')
  if (served.next !== undefined) {
    const query = new URLSearchParams(url.query)
    query.set(fromParameter, served.next)
    reply.header('link', formatNextLink(context.publicAddress.linkTo(url.path), query.toString()))
  }
  describeServed(reply, served, doubtOf(served))
  // The type without a charset: clients compare it to the letter.
  reply.header('content-type', manifestMediaTypes.ociIndex).header('content-length', body.length)
  reply.send(body)
}

function doubtOf({ checkedAt, doubt }: Omit<ServedReferrers, 'referrers'>): string | undefined {
  if (doubt === undefined) return undefined
  const since =
    checkedAt === undefined ? 'nothing is known' : `known since ${new Date(checkedAt).toISOString()}`
  return `there may be more referrers than these (${since}): ${doubt}`
}
