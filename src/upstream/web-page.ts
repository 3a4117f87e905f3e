import { UpstreamError } from './error.ts'

/** Whether an answer of this type, and with this beginning, is a web page: the login of a network, or a wrong address. */
export function isWebPage(contentType: string | undefined, start: string): boolean {
  return isHtml(contentType) || /^[\s\uFEFF]*</.test(start)
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

function isHtml(contentType = ''): boolean {
  return /html/i.test(contentType)
}
