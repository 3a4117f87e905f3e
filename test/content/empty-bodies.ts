import type { IncomingMessage, ServerResponse } from 'node:http'

/** The digest of no bytes. */
export const nothing = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/** How an upstream answers. */
export type Framing = (response: ServerResponse, request: IncomingMessage) => void

/** The ways in which an answer has no body. */
export const framings: Record<string, Framing> = {
  'Content-Length: 0': (response) => void response.writeHead(200, { 'content-length': 0 }).end(),
  'an empty chunked body': (response) => {
    response.writeHead(200, { 'transfer-encoding': 'chunked' })
    response.end()
  },
  'a body that ends with the connection': (response) => {
    const { socket } = response
    socket?.end('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n')
  },
  '204': (response) => void response.writeHead(204).end(),
  'a redirect to storage': (response, request) => {
    const path = request.url ?? ''
    if (path.startsWith('/storage')) response.writeHead(200, { 'content-length': 0 }).end()
    else response.writeHead(307, { location: `/storage${path}` }).end()
  },
  'a late answer': (response) =>
    void setTimeout(() => response.writeHead(200, { 'content-length': 0 }).end(), 100),
}
