import type { Logger } from 'pino'
import { Occasionally } from '../flow/occasionally.ts'
import { RegistryError } from '../oci/error.ts'
import type { RequestContext } from './request-context.ts'
import { nothingHere } from './routing.ts'

/**
 * Requests for which there is no route. One whose path holds `/v2/` comes from a client whose mirror address is
 * wrong: it goes on to the internet in silence, so that the log has to tell, once a minute for each client at most.
 */
export class StrayRequests {
  readonly #logger: Logger
  readonly #advice: string
  readonly #line = new Occasionally()

  /** `served`: the names of the upstreams. */
  constructor(logger: Logger, served: readonly string[]) {
    this.#logger = logger
    this.#advice = `write the mirror's address without a path, or with one of these as path: ${served.map((name) => `/${name}`).join(', ')}; where a web server in front has a path of its own, server.publicUrl in mirror.yml names it`
  }

  /** The answer to such a request. */
  refuse({ request: { url = '' }, client, clientKey }: RequestContext): RegistryError {
    const [path = ''] = url.split('?', 1)
    const before = path.search(/\/v2(?:\/|$)/)
    if (before < 0) return nothingHere()
    const prefix = path.slice(0, before).slice(0, 150)
    this.#line.do(clientKey, () =>
      this.#logger.warn(
        { client, path: prefix },
        `a client asks below a path that is not served: ${this.#advice}`,
      ),
    )
    return nothing(`nothing is served below ${prefix}: ${this.#advice}`)
  }
}

function nothing(message: string): RegistryError {
  return new RegistryError('UNSUPPORTED', message, { status: 404 })
}
