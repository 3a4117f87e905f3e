import { mergeReferrers, type Referrer } from '../oci/referrers.ts'
import { UpstreamError } from './error.ts'

/** Referrers as an upstream told them; nobody has looked at what they refer to. */
export interface FoundReferrers {
  readonly referrers: readonly Referrer[]
  /** Why the list ends before its end, if it does. */
  readonly incomplete: string | undefined
}

interface ReferrerPage {
  readonly referrers: readonly Referrer[]
  /** Of the answer. */
  readonly bytes: number
  /** The query of the next page. Throws UpstreamError where there is one that cannot be asked for. */
  next(): string | undefined
}

const maximumPages = 100
/** Bytes of all pages together: some 40,000 referrers. */
const maximumBytes = 16 * 1024 * 1024

/**
 * Walks the pages of a list of referrers (distribution-spec end-12) by the queries of their links. What came before a
 * page that fails is still an answer, though not a whole one. Throws what `ask` throws for the first page.
 */
export async function readReferrerPages(
  upstream: string,
  ask: (query: string) => Promise<ReferrerPage>,
): Promise<FoundReferrers> {
  const fail = (problem: string) => new UpstreamError('INVALID_RESPONSE', upstream, problem)
  const lists: (readonly Referrer[])[] = []
  const asked = new Set<string>()
  let bytes = 0
  let incomplete: string | undefined
  try {
    for (let query: string | undefined = ''; query !== undefined; ) {
      if (asked.has(query)) throw fail('the pages of its list lead in a circle')
      if (asked.size === maximumPages || bytes > maximumBytes) throw fail('its list does not end')
      asked.add(query)
      const page = await ask(query)
      lists.push(page.referrers)
      bytes += page.bytes
      query = page.next()
    }
  } catch (error) {
    if (lists.length === 0 || !(error instanceof UpstreamError)) throw error
    incomplete = error.message
  }
  return { referrers: mergeReferrers(...lists), incomplete }
}
