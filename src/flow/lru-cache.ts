import { LRUCache } from 'lru-cache'

export interface LruCacheOptions {
  /** Milliseconds that an entry lasts; for ever unless set. */
  readonly ttl?: number
  /** An entry lasts so long from its first `set` on. */
  readonly noUpdateTTL?: boolean
}

/**
 * A cache of at most `entries`, of which the least recently used go first, that grows with what is in it. Told its `max`,
 * lru-cache takes the room of all of them when it is made: 250 kB for 10,000.
 */
export function lruCache<Key extends {}, Value extends {}>(
  entries: number,
  options: LruCacheOptions = {},
): LRUCache<Key, Value> {
  return new LRUCache<Key, Value>({ ...options, maxSize: entries, sizeCalculation: () => 1 })
}
