import type { IncomingMessage, RequestListener } from 'node:http'

const refusal = JSON.stringify({
  errors: [{ code: 'UNSUPPORTED', message: 'two Host headers, or a target that is not a path' }],
})

/**
 * Refuses requests that two parsers may read in two ways, before anything is routed: two Host headers, or a target
 * that is no path. Node takes both. The connection is closed, and what was sent behind on it is not looked at.
 */
export function frontDoor(next: RequestListener): RequestListener {
  return (request, response) => {
    const { socket } = request
    // The rest of a pipeline whose first request was refused.
    if (socket.writableEnded || socket.destroyed) return
    if (!isAmbiguous(request)) return next(request, response)
    socket.end(
      `HTTP/1.1 400 Bad Request\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: ${refusal.length}\r\nConnection: close\r\n\r\n${refusal}`,
    )
  }
}

function isAmbiguous({ url = '', rawHeaders }: IncomingMessage): boolean {
  const hosts = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host')
  return hosts.length > 1 || !url.startsWith('/')
}
