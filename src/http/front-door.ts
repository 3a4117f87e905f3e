import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

const code = 'UNSUPPORTED'
const message = 'two Host headers, or a target that is not a path'
const body = JSON.stringify({ errors: [{ code, message }] })

/**
 * Refuses requests that two parsers may read in two ways, before anything is routed: two Host headers, or a target
 * that is no path. Node takes both. The answer waits for those before it on the connection, which is then closed;
 * what was sent behind it is not looked at. `onRefusal` is told what the client is told.
 */
export function frontDoor(
  next: RequestListener,
  onRefusal: (request: IncomingMessage, response: ServerResponse, refusal: string, bytes: number) => void,
): RequestListener {
  const refused = new WeakSet<Socket>()
  return (request, response) => {
    const { socket } = request
    // The rest of a pipeline whose first request was refused.
    if (refused.has(socket) || socket.destroyed) return
    if (!isAmbiguous(request)) return next(request, response)
    refused.add(socket)
    onRefusal(request, response, `${code}: ${message}`, body.length)
    response.writeHead(400, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': body.length,
      connection: 'close',
    })
    response.end(body)
  }
}

function isAmbiguous({ url = '', rawHeaders }: IncomingMessage): boolean {
  const hosts = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host')
  return hosts.length > 1 || !url.startsWith('/')
}
