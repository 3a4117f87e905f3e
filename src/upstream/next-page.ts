import { parseLinks } from '../oci/link.ts'
import type { TransportResponse } from './connections/exchange.ts'
import { UpstreamError } from './error.ts'

/** Characters: no honest one comes near, and a client's request line has to hold it. */
const maximumQueryLength = 4096

/** What was asked, to tell whether its answer leads on. */
export interface AskedPage {
  readonly upstream: string
  /** Where the upstream's `/v2/` lies. */
  readonly base: URL
  /** The end of the list's path, such as `/tags/list`. */
  readonly path: string
  /** The query of this page, without "?". */
  readonly query: string
}

/**
 * The query of the next page of a list (distribution-spec end-8b, RFC 8288), as the upstream wrote it and without
 * "?": what is in it is its business alone. Undefined where this page is the last one. Only the query of a link is
 * ever used, with the list's own URL, so that no link leads anywhere else.
 * Throws UpstreamError INVALID_RESPONSE where there is a link that cannot be followed: a list that ends early looks
 * like one that is whole.
 */
export function nextPage(response: TransportResponse, asked: AskedPage): string | undefined {
  const { upstream, base, path } = asked
  const fail = (problem: string) =>
    new UpstreamError(
      'INVALID_RESPONSE',
      upstream,
      `its list is incomplete: the link to the next page ${problem}`,
    )
  const { link: header } = response.headers
  const { links, isWhole } = parseLinks(Array.isArray(header) ? header.join(', ') : header)
  const targetsOf = (wanted: string) =>
    links.filter(({ relation }) => relation === wanted).map(({ target }) => target)
  const targets = new Set(targetsOf('next'))
  if (targets.size > 1) throw fail('is given more than once')
  // Clients follow a single link whatever it says of itself, so that some registries say nothing.
  const [unnamed] = links.length === 1 ? targetsOf('') : []
  const isList = unnamed?.split('?')[0]?.endsWith(path)
  const target = [...targets][0] ?? (isList ? unnamed : undefined)
  if (target === undefined) {
    if (isWhole) return undefined
    throw fail('cannot be read')
  }
  if (!URL.canParse(target, response.url.href)) throw fail('is not a URL')
  const url = new URL(target, response.url)
  // Scheme and port may differ: registries behind a proxy write those that they believe in.
  if (
    !/^https?:$/.test(url.protocol) ||
    ![base, response.url].some(({ hostname }) => hostname === url.hostname)
  ) {
    throw fail(`leads to another host, ${url.host || url.protocol}`)
  }
  if (!url.pathname.endsWith(path)) throw fail(`leads to another path, ${url.pathname.slice(0, 200)}`)
  const query = url.search.slice(1)
  if (query.length > maximumQueryLength) throw fail(`has more than ${maximumQueryLength} characters`)
  if (query === '' || isSameQuery(query, asked.query)) throw fail('leads back to the same page')
  return query
}

function isSameQuery(one: string, other: string): boolean {
  return one.split('&').sort().join('&') === other.split('&').sort().join('&')
}
