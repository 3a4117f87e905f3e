import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A registry without tokens that answers a GET or HEAD of a manifest, a blob or a list as a test says. */
export type PlainRegistry = AsyncDisposable & {
  readonly url: string
  /** What was asked so far, as `METHOD path`. */
  readonly asked: string[]
}

/** Starts one on a free port of 127.0.0.1. What `answer` leaves unanswered hangs until it is disposed. */
export async function startPlainRegistry(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<PlainRegistry> {
  const asked: string[] = []
  const server = createServer((request, response) => {
    if (request.url === '/v2/') return void response.end('{}')
    asked.push(`${request.method} ${request.url}`)
    answer(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
