import { type Place, Places } from './places.ts'

export interface ClientSlotsOptions {
  /** Places of each client. */
  readonly perClient: number
  /** Milliseconds for which one that is not free is waited for. */
  readonly patienceMs: number
}

export interface TakeOptions {
  readonly signal?: AbortSignal | undefined
  /** Milliseconds of `performance.now()`: the patience counts from then, for who has waited elsewhere before. */
  readonly since?: number | undefined
}

/** So many places for each client: who comes first is served first, and waits for none but its own client's. */
export class ClientSlots {
  /** Those who had to wait so far, and those among them who got no place. */
  readonly counts = { waited: 0, refused: 0 }
  readonly #options: ClientSlotsOptions
  /** Of those clients that have a place. */
  readonly #byClient = new Map<string, Places>()

  constructor(options: ClientSlotsOptions) {
    this.#options = options
  }

  /** Takes a place; undefined where it has to be waited for. */
  tryTake(client: string): Place | undefined {
    const slots = this.#byClient.get(client) ?? new Places(this.#options.perClient)
    this.#byClient.set(client, slots)
    const slot = slots.tryTake()
    return slot && this.#forgetting(client, slots, slot)
  }

  /** Takes a place, or waits for one; undefined where that takes too long. Rejects with the reason of `signal`. */
  async take(client: string, { signal, since }: TakeOptions = {}): Promise<Place | undefined> {
    signal?.throwIfAborted()
    const slot = this.tryTake(client)
    const slots = this.#byClient.get(client)
    if (slot || !slots) return slot
    this.counts.waited += 1
    const patience = new AbortController()
    const waitedMs = since === undefined ? 0 : performance.now() - since
    const leftMs = Math.max(0, this.#options.patienceMs - waitedMs)
    const timer = setTimeout(() => patience.abort(), leftMs)
    timer.unref()
    try {
      const either = signal ? AbortSignal.any([signal, patience.signal]) : patience.signal
      return this.#forgetting(client, slots, await slots.take(either))
    } catch (error) {
      if (error !== patience.signal.reason) throw error
      this.counts.refused += 1
      return undefined
    } finally {
      clearTimeout(timer)
    }
  }

  /** A client that has no place is forgotten, or there would be no end of them. */
  #forgetting(client: string, slots: Places, slot: Place): Place {
    return {
      [Symbol.dispose]: () => {
        slot[Symbol.dispose]()
        if (slots.isIdle && this.#byClient.get(client) === slots) this.#byClient.delete(client)
      },
    }
  }
}
