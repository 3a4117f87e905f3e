import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import { clientAddress } from './client-address.ts'

/** Milliseconds between two lines of a kind: a client with a wrong address asks as often as it pulls. */
const pauseMs = 60_000

/** The first bytes of a TLS connection: a handshake record, of SSL 3 or any TLS. */
const tlsHandshake = [22, 3] as const

interface ProtocolError extends Error {
  readonly code?: string
  /** What could not be read as HTTP. */
  readonly rawPacket?: Uint8Array
}

/**
 * Clients that speak TLS to a port of plain HTTP, or the other way round. They go on to the internet in silence and
 * no request comes of it, so that the log has to tell, once a minute of each kind at most.
 */
export class WrongScheme {
  readonly #logger: Logger
  readonly #silentUntil = { tls: 0, plain: 0 }

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /**
   * Looks at the errors of a server's connections, TLS or plain. It does not listen to them: a listener of
   * `clientError` would have to answer in Node's place.
   */
  watch(server: Server): void {
    const emit = server.emit.bind(server) as (event: string | symbol, ...values: unknown[]) => boolean
    server.emit = (event: string | symbol, ...values: unknown[]): boolean => {
      if (event === 'clientError') this.#look(values[0] as ProtocolError, values[1] as Socket)
      return emit(event, ...values)
    }
  }

  #look({ code, rawPacket }: ProtocolError, socket: Socket): void {
    if (code === 'ERR_SSL_HTTP_REQUEST') {
      if (!this.#isDue('plain')) return
      this.#logger.warn(
        { client: clientAddress(socket) },
        "a client speaks plain HTTP to a port that speaks TLS: write the mirror's address with https://",
      )
    } else if (code === 'HPE_INVALID_METHOD' && tlsHandshake.every((byte, at) => rawPacket?.[at] === byte)) {
      if (!this.#isDue('tls')) return
      // No warning: clients that are told "insecure" try TLS first, and go on with HTTP.
      this.#logger.info(
        { client: clientAddress(socket) },
        "a client speaks TLS to a port that speaks plain HTTP: unless it goes on with HTTP by itself, write the mirror's address with http://",
      )
    }
  }

  #isDue(kind: 'tls' | 'plain'): boolean {
    const now = performance.now()
    if (now < this.#silentUntil[kind]) return false
    this.#silentUntil[kind] = now + pauseMs
    return true
  }
}
