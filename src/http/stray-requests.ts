import type { IncomingMessage } from 'node:http'
import type { Logger } from 'pino'
import { RegistryError } from '../oci/error.ts'
import { clientAddress } from './client-address.ts'

/** Milliseconds between two lines: a client with a wrong address asks as often as it pulls. */
const pauseMs = 60_000

/**
 * Requests for which there is no route. One whose path holds `/v2/` comes from a client whose mirror address is
 * wrong: it goes on to the internet in silence, so that the log has to tell, once a minute at most.
 */
export class StrayRequests {
  readonly #logger: Logger
  readonly #advice: string
  #silentUntil = 0

  /** `served`: the names of the upstreams. */
  constructor(logger: Logger, served: readonly string[]) {
    this.#logger = logger
    this.#advice = `write the mirror's address without a path, or with one of these as path: ${served.map((name) => `/${name}`).join(', ')}`
  }

  /** The answer to such a request. */
  refuse({ url = '', socket }: IncomingMessage): RegistryError {
    const [path = ''] = url.split('?', 1)
    const before = path.search(/\/v2(?:\/|$)/)
    if (before < 0) return nothing('there is nothing at this path')
    const prefix = path.slice(0, before).slice(0, 150)
    const now = performance.now()
    if (now >= this.#silentUntil) {
      this.#silentUntil = now + pauseMs
      const client = clientAddress(socket)
      this.#logger.warn(
        { client, path: prefix },
        `a client asks below a path that is not served: ${this.#advice}`,
      )
    }
    return nothing(`nothing is served below ${prefix}: ${this.#advice}`)
  }
}

function nothing(message: string): RegistryError {
  return new RegistryError('UNSUPPORTED', message, { status: 404 })
}
