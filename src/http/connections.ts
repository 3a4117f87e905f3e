import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import { Occasionally } from '../flow/occasionally.ts'
import type { Admission } from './admission.ts'
import { clientKey } from './client-address.ts'
import type { TrustedProxies } from './trusted-proxies.ts'

export interface ConnectionsOptions {
  /** Connections that one client may have at a time (`limits.perClient.connections`). */
  readonly perClient: number
  /** Those whose connections are not bounded: their clients' requests are (`ToldRequests`). */
  readonly proxies: TrustedProxies
  /** Whether there is room for one more of anybody. */
  readonly admission: Admission
  /** Hears of each that was closed for it. */
  readonly onRefused: (socket: Socket) => void
  readonly logger: Logger
}

/** Bounds how many connections a client has: what comes beyond that is closed at once, and a line a minute says so of each. */
export class Connections {
  readonly #options: ConnectionsOptions
  readonly #open = new Map<string, number>()
  readonly #line = new Occasionally()

  constructor(options: ConnectionsOptions) {
    this.#options = options
  }

  /** Stands before everything else that hears of the connections of a server, which keeps all that it is told of. */
  watch(server: Server): void {
    const emit = server.emit.bind(server) as (event: string | symbol, ...values: unknown[]) => boolean
    server.emit = (event: string | symbol, ...values: unknown[]): boolean =>
      event === 'connection' && !this.#enter(values[0] as Socket) ? true : emit(event, ...values)
  }

  #enter(socket: Socket): boolean {
    if (!this.#admits(socket)) return false
    this.#options.admission.enter(socket)
    return true
  }

  #admits(socket: Socket): boolean {
    const { perClient, proxies, onRefused, logger } = this.#options
    if (proxies.has(socket.remoteAddress)) return true
    const client = clientKey(socket)
    const count = (this.#open.get(client) ?? 0) + 1
    if (count > perClient) {
      // Its address is known as long as it is open.
      onRefused(socket)
      socket.destroy()
      this.#line.do(client, () =>
        logger.warn(
          { client, connections: perClient },
          'a client has as many connections as one may have, and more are closed: raise limits.perClient.connections where many machines share its address',
        ),
      )
      return false
    }
    this.#open.set(client, count)
    socket.once('close', () => {
      const left = (this.#open.get(client) ?? 0) - 1
      if (left > 0) this.#open.set(client, left)
      else this.#open.delete(client)
    })
    return true
  }
}
