import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { RegistryError } from '../oci/error.ts'
import { answerError, type ErrorAnswer } from './errors.ts'
import { hasBody } from './receive-blob.ts'

const ambiguous = new RegistryError(
  'UNSUPPORTED',
  'no Host header or two of them, or a target that is not a path',
  { status: 400 },
)

/** Bytes of all headers but `Range`, which alone may be long: clients of zstd:chunked images ask for up to 1,024 parts. */
const maximumHeaders = 16 * 1024
const oversized = new RegistryError(
  'UNSUPPORTED',
  'the headers of this request have more than 16 KiB: send fewer or shorter ones',
  { status: 431 },
)

/**
 * Refuses requests that two parsers may read in two ways, before anything is routed: none or two Host headers, or a
 * target that is no path. Node takes all but the first. Refuses what has too many bytes of headers as well. The connection is closed with the answer, and what was sent
 * behind it is not looked at. `onRefusal` is told what the client is told.
 */
export function frontDoor(
  next: RequestListener,
  onRefusal: (request: IncomingMessage, response: ServerResponse, refusal: ErrorAnswer) => void,
): RequestListener {
  return (request, response) => {
    // Nobody takes the body of a question: the connection ends with the answer, and with it what is still to come.
    if (/^(?:GET|HEAD)$/.test(request.method ?? '') && hasBody(request)) response.shouldKeepAlive = false
    const reason = isAmbiguous(request) ? ambiguous : isOversized(request) ? oversized : undefined
    if (!reason) return next(request, response)
    const refusal = answerError(reason, 'unknown')
    const { status, headers, body } = refusal
    onRefusal(request, response, refusal)
    response.writeHead(status, { ...headers, 'content-length': body.length, connection: 'close' })
    response.end(body)
  }
}

/** HTTP/1.0 knows no Host (RFC 9112 3.2). */
function isAmbiguous({ url = '', rawHeaders, httpVersion }: IncomingMessage): boolean {
  const hosts = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host').length
  return hosts > 1 || (hosts === 0 && httpVersion !== '1.0') || !url.startsWith('/')
}

function isOversized({ rawHeaders }: IncomingMessage): boolean {
  let bytes = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name = '', value = ''] = [rawHeaders[at], rawHeaders[at + 1]]
    bytes += name.length + (name.toLowerCase() === 'range' ? 0 : value.length)
  }
  return bytes > maximumHeaders
}
