import Keyv from 'keyv'
import { LRUCache } from 'lru-cache'

/** Values that are kept for a while, each under a key. */
export interface Expiring<Value> {
  /** The value, while it has not expired; undefined, too, where the store fails. */
  get(key: string): Promise<Value | undefined>
  /** Keeps a value for so many milliseconds, of which there may be infinitely many; for none it is not kept at all. */
  set(key: string, value: Value, lifetimeMs: number): Promise<void>
  delete(key: string): Promise<void>
}

/** What one kind of value may take; the least recently used go first. */
export interface ExpiringBudget<Value> {
  readonly entries: number
  /** Bytes of all values and keys together. */
  readonly bytes: number
  /** The bytes of one value; undefined where all are small. */
  readonly sizeOf?: (value: Value) => number
}

/** Opens the place for one kind of value, with a budget of its own: no kind displaces another. */
export type OpenExpiring = <Value>(namespace: string, budget: ExpiringBudget<Value>) => Expiring<Value>

/** Bytes that an entry takes besides its key and its value. */
const entryBytes = 200

/**
 * Values that expire, in any store that Keyv knows. It never rejects: whatever lies here can be found out again, so
 * that a store which fails has forgotten everything. `onError` hears of it.
 */
export class KeyvExpiring<Value> implements Expiring<Value> {
  readonly #store: Keyv<Value>
  readonly #onError: (error: unknown) => void

  constructor(store: Keyv<Value>, onError: (error: unknown) => void) {
    this.#store = store
    this.#onError = onError
    // Without a listener an error event of a store would end the process; what fails rejects as well.
    store.on('error', () => {})
    store.throwOnErrors = true
  }

  async get(key: string): Promise<Value | undefined> {
    try {
      return await this.#store.get<Value>(key)
    } catch (error) {
      this.#onError(error)
      return undefined
    }
  }

  async set(key: string, value: Value, lifetimeMs: number): Promise<void> {
    // Keyv takes 0 for "for ever".
    if (lifetimeMs <= 0) return this.delete(key)
    try {
      await this.#store.set(key, value, Number.isFinite(lifetimeMs) ? lifetimeMs : undefined)
    } catch (error) {
      this.#onError(error)
    }
  }

  async delete(key: string): Promise<void> {
    try {
      await this.#store.delete(key)
    } catch (error) {
      this.#onError(error)
    }
  }
}

/** Values in memory, as they are: whoever gets one must not change it. `onError`: see `KeyvExpiring`. */
export function expiringInMemory<Value>(
  budget: ExpiringBudget<Value>,
  onError: (error: unknown) => void,
): Expiring<Value> {
  const { entries: maximum, bytes: maxSize, sizeOf = () => 0 } = budget
  // Without a `max`, for which lru-cache would take all the room at once.
  const entries = new LRUCache<string, { value: Value }>({
    maxSize,
    sizeCalculation: ({ value }, key) => sizeOf(value) + 2 * key.length + entryBytes,
  })
  // Not the cache itself: Keyv passes a time to live where lru-cache takes options. By lru-cache's clock, which nobody
  // sets, it ends too: one that was set back makes nothing last longer.
  const store = {
    get: (key: string) => entries.get(key),
    set: (key: string, value: { value: Value }, ttl?: number) => {
      entries.set(key, value, ttl === undefined ? undefined : { ttl })
      if (entries.size > maximum) entries.pop()
    },
    delete: (key: string) => entries.delete(key),
    clear: () => entries.clear(),
  }
  const keyv = new Keyv<Value>({ store, useKeyPrefix: false })
  // Written as text and read again, as Keyv does by itself, a value costs eight times as much.
  keyv.serialize = undefined
  keyv.deserialize = undefined
  return new KeyvExpiring(keyv, onError)
}
