import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A proxy that lets nobody out. Dispose to stop it. */
export type NoInternet = AsyncDisposable & {
  /** The variables that make programs use it; they reach 127.0.0.1 without it. */
  readonly environment: Readonly<Record<string, string>>
  /** `host:port` of whatever was tried, in order. */
  readonly attempts: readonly string[]
}

/**
 * Clients go past a mirror to the real registry where the mirror fails. Behind this proxy they cannot, so that a
 * test has the same end on every machine; and it shows whether one tried.
 */
export async function startNoInternet(): Promise<NoInternet> {
  const attempts: string[] = []
  const server = createServer((request, response) => {
    attempts.push(request.url ?? '')
    response.writeHead(502).end()
  })
  server.on('connect', (request, socket) => {
    attempts.push(request.url ?? '')
    socket.end('HTTP/1.1 502 no internet in this test\r\nContent-Length: 0\r\n\r\n')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    environment: { HTTP_PROXY: proxy, HTTPS_PROXY: proxy, NO_PROXY: '127.0.0.1' },
    attempts,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
