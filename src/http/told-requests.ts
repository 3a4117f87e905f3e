import { ClientSlots } from '../flow/client-slots.ts'
import { tooManyRequests } from '../oci/error.ts'
import type { RequestContext } from './request-context.ts'

/**
 * Bounds how many requests a client has under way that comes by a trusted proxy: its connections are the proxy's, which
 * has as many as it needs (`limits.perClient.connections`).
 */
export class ToldRequests {
  readonly #perClient: number
  readonly #slots: ClientSlots

  constructor(perClient: number) {
    this.#perClient = perClient
    this.#slots = new ClientSlots({ perClient, patienceMs: 0 })
  }

  /** Counts a request until its answer is over. Throws RegistryError TOOMANYREQUESTS (429). */
  enter({ origin, clientKey, response }: RequestContext): void {
    if (origin.by !== 'told' || response.closed) return
    const slot = this.#slots.tryTake(clientKey)
    if (!slot) {
      throw tooManyRequests(
        `${this.#perClient} requests of this client are under way, as many as one may have (limits.perClient.connections): try again when some are answered`,
      )
    }
    response.once('close', () => slot[Symbol.dispose]())
  }
}
