import type { TransportResponse } from './connections/exchange.ts'
import { UpstreamError } from './error.ts'

/** Whether an answer says that it is a web page. */
export function isHtml(contentType = ''): boolean {
  return /html/i.test(contentType)
}

/** Whether an answer of this type, and with this beginning, is a web page: the login of a network, or a wrong address. */
export function isWebPage(contentType: string | undefined, start: string): boolean {
  return isHtml(contentType) || /^[\s\uFEFF]*</.test(start)
}

/** Whether an answer is a web page and no redirect: none of a registry, but of the network on the way. */
export function isPage({ headers }: Pick<TransportResponse, 'headers'>): boolean {
  return isHtml(headers['content-type']) && headers.location === undefined
}

/** The failure of an answer that cannot be read, or is not what was asked for: `message` unless it is a web page. */
export function unreadable(
  upstream: string,
  contentType: string | undefined,
  message: string,
  cause?: unknown,
): UpstreamError {
  const words = isHtml(contentType)
    ? 'it answered with a web page: the network may want a login first, or upstreams[].url is no registry'
    : message
  return new UpstreamError('INVALID_RESPONSE', upstream, words, { cause })
}
