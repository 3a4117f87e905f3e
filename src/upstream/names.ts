import { type LookupAddress, lookup } from 'node:dns'
import { isIP } from 'node:net'
import { abortable } from '../flow/abortable.ts'
import { SingleFlight } from '../flow/single-flight.ts'

/** Names that may wait for a name server at a time. A redirect can name any host, and each look-up is kept till its end. */
const maximumUnderWay = 64

/**
 * Finds the addresses of names by the system's resolver. A look-up occupies a thread of Node's pool until the resolver
 * gives up, which nothing can hasten, so a name is asked for once however many connections need it; Node leaves half
 * of the threads to files. One for the whole process.
 */
export class Names {
  readonly #flights = new SingleFlight<string, readonly LookupAddress[]>()
  #underWay = 0

  /**
   * The addresses of a host, in the resolver's order; an address stands for itself. Rejects with the resolver's error,
   * or with the reason of `signal`, while the look-up goes on for others.
   */
  async lookup(host: string, signal: AbortSignal): Promise<readonly LookupAddress[]> {
    const family = isIP(host)
    if (family !== 0) return [{ address: host, family }]
    return await abortable(
      this.#flights.run(host, () => this.#ask(host)),
      signal,
    )
  }

  async #ask(host: string): Promise<readonly LookupAddress[]> {
    if (this.#underWay >= maximumUnderWay) {
      const message = `${host} was not looked up: ${this.#underWay} other names wait for an answer of the name server`
      throw Object.assign(new Error(message), { code: 'EAI_AGAIN' })
    }
    this.#underWay += 1
    const { promise, resolve, reject } = Promise.withResolvers<readonly LookupAddress[]>()
    lookup(host, { all: true }, (error, addresses) => (error ? reject(error) : resolve(addresses)))
    return promise.finally(() => {
      this.#underWay -= 1
    })
  }
}
