import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import type { Certificate } from '../fixtures.ts'

/** One request as it arrived. */
export interface RawRequest {
  /** The connection, or TLS on it. */
  readonly socket: Socket
  /** What lies under TLS, which can be ended without a word of TLS; `socket` itself where there is none. */
  readonly plain: Socket
  /** Such as `GET / HTTP/1.1`. */
  readonly line: string
  /** Of all requests so far, from 1 on. */
  readonly count: number
  /** The number of its connection, from 1 on. */
  readonly connection: number
}

export interface RawServer {
  readonly url: URL
  readonly port: number
  /** Connections ever accepted. */
  readonly connections: () => number
  /** Those that are open now. */
  readonly open: () => number
  /** The number of the connection of each request so far. */
  readonly requests: readonly number[]
}

/** A server whose answers are bytes, closed with the test; over TLS with a certificate. Each packet that comes is a request. */
export async function rawServer(
  t: TestContext,
  answer: (request: RawRequest) => unknown,
  tls?: Certificate,
): Promise<RawServer> {
  const plains: Socket[] = []
  const requests: number[] = []
  let connections = 0
  let open = 0
  const serve = (socket: Socket): void => {
    connections += 1
    open += 1
    const connection = connections
    const plain = plains.find(({ remotePort }) => remotePort === socket.remotePort) ?? socket
    socket.on('error', () => {})
    socket.on('close', () => {
      open -= 1
    })
    socket.on('data', (bytes: Buffer) => {
      const count = requests.push(connection)
      const [line = ''] = bytes.toString('latin1').split('\r\n')
      answer({ socket, plain, line, count, connection })
    })
  }
  const server = tls ? createTlsServer(tls, serve) : createServer(serve)
  server.on('connection', (plain: Socket) => {
    plain.on('error', () => {})
    plains.unshift(plain)
  })
  const port = await listenRaw(t, server, plains)
  const url = new URL(`${tls ? 'https' : 'http'}://127.0.0.1:${port}/`)
  return { url, port, connections: () => connections, open: () => open, requests }
}

/** Listens on this machine until the test ends, which closes `sockets`. Returns the port. */
export async function listenRaw(t: TestContext, server: Server, sockets: Iterable<Socket>): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}
