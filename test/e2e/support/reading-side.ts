import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'

/** Two registries behind one address. Dispose to close it. */
export type ReadingSide = AsyncDisposable & {
  /** `127.0.0.1:<port>`. */
  readonly host: string
}

/**
 * Makes a registry of two: what reads (GET and HEAD) is answered by `reads`, what writes and the state of an upload
 * by `writes`, both URLs. A suite that has to push before it can read thus tests a mirror that takes no pushes.
 */
export async function startReadingSide({
  reads,
  writes,
}: {
  reads: string
  writes: string
}): Promise<ReadingSide> {
  const server = createServer((from, to) => {
    forward(from, to, isReading(from) ? reads : writes).catch((error: unknown) => to.destroy(error as Error))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

function isReading({ method, url = '' }: IncomingMessage): boolean {
  return (method === 'GET' || method === 'HEAD') && !url.includes('/blobs/uploads/')
}

/** The `Host` stays: the registry makes the `Location` of an upload of it, which then leads here as well. */
async function forward(from: IncomingMessage, to: ServerResponse, base: string): Promise<void> {
  const { hostname, port } = new URL(base)
  const { method, url, headers } = from
  const onward = request({ hostname, port, method, path: url, headers })
  // What breaks behind its answer breaks the body of that.
  onward.on('error', () => {})
  const answered = once(onward, 'response') as Promise<[IncomingMessage]>
  const [, [answer]] = await Promise.all([pipeline(from, onward), answered])
  to.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
  await pipeline(answer, to)
}
