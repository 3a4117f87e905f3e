/** Milliseconds. */
const pauseMs = 60_000
/** Clients that are told of within that time; the lines of all others would be a flood of their own. */
const maximumClients = 100

/** What is worth a line in the log, and not one each time: something happens once a minute at most for each client. */
export class Occasionally {
  /** When each may be told of again, the earliest first. */
  readonly #silentUntil = new Map<string, number>()

  /** `client`: as a bound by client counts it. */
  do(client: string, work: () => void): void {
    const now = performance.now()
    for (const [other, until] of this.#silentUntil) {
      if (now < until) break
      this.#silentUntil.delete(other)
    }
    if (this.#silentUntil.has(client) || this.#silentUntil.size >= maximumClients) return
    this.#silentUntil.set(client, now + pauseMs)
    work()
  }
}
