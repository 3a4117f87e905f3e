import type { Socket } from 'node:net'
import type { Logger } from 'pino'
import { Occasionally } from '../flow/occasionally.ts'
import { clientAddress, clientKey } from './client-address.ts'
import type { ProtocolError } from './unreadable-requests.ts'

/** The first bytes of a TLS connection: a handshake record, of SSL 3 or any TLS. */
const tlsHandshake = [22, 3] as const

/**
 * Clients that speak TLS to a port of plain HTTP, or the other way round. They go on to the internet in silence and
 * no request comes of it, so that the log has to tell, once a minute for each client and kind at most.
 */
export class WrongScheme {
  readonly #logger: Logger
  readonly #lines = { tls: new Occasionally(), plain: new Occasionally() }

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** Looks at an error of a connection, TLS or plain. */
  look({ code, rawPacket }: ProtocolError, socket: Socket): void {
    if (code === 'ERR_SSL_HTTP_REQUEST') {
      this.#lines.plain.do(clientKey(socket), () =>
        this.#logger.warn(
          { client: clientAddress(socket) },
          "a client speaks plain HTTP to a port that speaks TLS: write the mirror's address with https://",
        ),
      )
    } else if (code === 'HPE_INVALID_METHOD' && tlsHandshake.every((byte, at) => rawPacket?.[at] === byte)) {
      const isPort = socket.remoteAddress !== undefined
      // No warning: clients that are told "insecure" try TLS first, and go on with HTTP.
      this.#lines.tls.do(clientKey(socket), () =>
        this.#logger.info(
          { client: clientAddress(socket) },
          `a client speaks TLS to ${isPort ? 'a port' : 'a Unix socket'} that speaks plain HTTP: unless it goes on with HTTP by itself, write the mirror's address with http://`,
        ),
      )
    }
  }
}
