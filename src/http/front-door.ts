import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { RegistryError } from '../oci/error.ts'
import { answerError, type ErrorAnswer } from './errors.ts'
import { hasBody } from './receive-blob.ts'

const ambiguous = new RegistryError(
  'UNSUPPORTED',
  'no Host header or two of them, or a target that is not a path',
  { status: 400 },
)

/**
 * Refuses requests that two parsers may read in two ways, before anything is routed: none or two Host headers, or a
 * target that is no path. Node takes all but the first. The connection is closed with the answer, and what was sent
 * behind it is not looked at. `onRefusal` is told what the client is told.
 */
export function frontDoor(
  next: RequestListener,
  onRefusal: (request: IncomingMessage, response: ServerResponse, refusal: ErrorAnswer) => void,
): RequestListener {
  return (request, response) => {
    // Nobody takes the body of a question: the connection ends with the answer, and with it what is still to come.
    if (/^(?:GET|HEAD)$/.test(request.method ?? '') && hasBody(request)) response.shouldKeepAlive = false
    if (!isAmbiguous(request)) return next(request, response)
    const refusal = answerError(ambiguous, 'unknown')
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
