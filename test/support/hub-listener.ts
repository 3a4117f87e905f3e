import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, isIPv4, isIPv6 } from 'node:net'

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void

/** An HTTP server that can go away and come back at the same port. Its owner disposes of it. */
export class HubListenerServer implements AsyncDisposable {
  /** The address that it listens on. */
  readonly address: string
  readonly port: number
  readonly #handler: RequestHandler
  #server: Server | undefined

  private constructor(server: Server, address: string, port: number, handler: RequestHandler) {
    this.#server = server
    this.address = address
    this.port = port
    this.#handler = handler
  }

  /** Listens on a free port of an IP address. Rejects with the error of `listen`. */
  static async open(address: string, handler: RequestHandler): Promise<HubListenerServer> {
    const server = await listen(address, 0, handler)
    return new HubListenerServer(server, address, (server.address() as AddressInfo).port, handler)
  }

  /** Resets every connection and refuses new ones. */
  async stop(): Promise<void> {
    const server = this.#server
    if (server === undefined) return
    this.#server = undefined
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
  }

  /** Listens again, at the same port. */
  async start(): Promise<void> {
    this.#server ??= await listen(this.address, this.port, this.#handler)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}

/** `http://name:port`, with brackets around an IPv6 address. */
export function httpUrl(name: string, port: number): string {
  return `http://${isIPv6(name) ? `[${name}]` : name}:${port}`
}

/** The address to listen on for a host name: itself where it is an IP address, or else 127.0.0.1. */
export function listenAddressOf(name: string): string {
  return isIPv4(name) || isIPv6(name) ? name : '127.0.0.1'
}

async function listen(address: string, port: number, handler: RequestHandler): Promise<Server> {
  const server = createServer({ keepAliveTimeout: 90_000, requestTimeout: 0 }, handler)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, address, 4096, resolve)
  })
  return server
}
