import { RegistryError } from '../../oci/error.ts'
import { formatNextLink } from '../../oci/link.ts'
import { manifestMediaTypes } from '../../oci/media-type.ts'
import { filterReferrers, formatReferrers } from '../../oci/referrers.ts'
import type { ServedReferrers } from '../../registry/repository.ts'
import { describeServed } from '../describe-served.ts'
import { type DocumentsOptions, withRoom } from '../large-answers.ts'
import type { Question } from '../question.ts'
import type { Route } from '../routing.ts'

/** Where a page begins; only our own links have it. */
const skipParameter = 'skip'

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
  const skip = parseSkip(url.query.get(skipParameter))
  // A "+" that nobody encoded arrives as a space, which no media type has.
  const given = url.query.getAll('artifactType').map((type) => type.replaceAll(' ', '+'))
  const artifactTypes = given.filter((type) => type !== '')
  const ask = async () => {
    const { referrers, ...served } = await repository.referrers(target.digest, context.asker)
    return { served, ...formatReferrers(filterReferrers(referrers, artifactTypes), skip) }
  }
  const asked = { ask, bytesOf: ({ body }: { body: Uint8Array }) => body.length, again: () => ask }
  const { served, body, next } = await withRoom(asked, context, documents)
  if (artifactTypes.length > 0) reply.header('oci-filters-applied', 'artifactType')
  if (next !== undefined) {
    const query = new URLSearchParams(url.query)
    query.set(skipParameter, String(next))
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

function parseSkip(text: string | null): number {
  if (text === null) return 0
  if (/^\d{1,7}$/.test(text)) return Number(text)
  throw new RegistryError('PAGINATION_NUMBER_INVALID', `${skipParameter} must be a number`)
}
