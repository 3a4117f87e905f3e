import { type LookupAddress, lookup } from 'node:dns'
import { isIP } from 'node:net'
import { abortable, delay } from '../../flow/abortable.ts'
import { SingleFlight } from '../../flow/single-flight.ts'

/** Names that may wait for a name server at a time. A redirect can name any host, and each look-up is kept till its end. */
const maximumUnderWay = 64
/** Milliseconds after which a name server seems to swallow the question for IPv6 addresses, as some routers' do. */
const swallowedAfterMs = 1500
/** Milliseconds for which it is then taken to do so. */
const fourFirstMs = 300_000
/** Milliseconds after which a resolver repeats a question that got no answer. */
const resolverRetryMs = 5000

/**
 * Finds the addresses of names by the system's resolver. A look-up occupies a thread of Node's pool until the resolver
 * gives up, which nothing can hasten, so a name is asked for once however many connections need it; Node leaves half
 * of the threads to files. Where a name server swallows questions for IPv6 addresses, those of IPv4 will do. One for the whole process.
 */
export class Names {
  readonly #flights = new SingleFlight<string, readonly LookupAddress[]>()
  #underWay = 0
  /** Of the monotonic clock. */
  #fourFirstUntil = 0

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
    try {
      if (performance.now() < this.#fourFirstUntil) {
        const four = await resolve(host, 4).catch(() => [])
        if (four.length > 0) return four
      }
      return await this.#askForBoth(host)
    } finally {
      this.#underWay -= 1
    }
  }

  /** Both families at once; IPv4 alone beside them where that takes suspiciously long. */
  async #askForBoth(host: string): Promise<readonly LookupAddress[]> {
    const both = resolve(host, 0)
    const waiting = new AbortController()
    const four = delay(swallowedAfterMs, waiting.signal).then(async () => {
      const found = await resolve(host, 4)
      if (!waiting.signal.aborted) this.#noteSwallowing(both)
      return found
    })
    try {
      // What it fails at, the other one tells.
      return await Promise.race([both, four.catch(() => both)])
    } finally {
      waiting.abort()
    }
  }

  /** Others need not wait for the same, unless it turns out that the name server is slow and answers. */
  #noteSwallowing(both: Promise<unknown>): void {
    const beganAt = performance.now()
    this.#fourFirstUntil = beganAt + fourFirstMs
    const settled = (): void => {
      if (performance.now() - beganAt < resolverRetryMs - swallowedAfterMs) this.#fourFirstUntil = 0
    }
    both.then(settled, settled)
  }
}

/** `family` 0: both. */
async function resolve(host: string, family: 0 | 4): Promise<readonly LookupAddress[]> {
  const found = Promise.withResolvers<readonly LookupAddress[]>()
  const settle = (error: Error | null, addresses: LookupAddress[]): void =>
    error ? found.reject(error) : found.resolve(addresses)
  lookup(host, { all: true, family }, settle)
  return found.promise
}
