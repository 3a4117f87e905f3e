import { deferred } from './deferred.ts'

/** Runs work with the same key one after the other, in the order in which it was asked for; other keys do not wait. */
export class KeyedLock<Key> {
  readonly #last = new Map<Key, Promise<void>>()

  /** Runs `work` when all that was asked for under `key` before has ended, however. Settles as `work` does. */
  async run<Value>(key: Key, work: () => Promise<Value>): Promise<Value> {
    const before = this.#last.get(key)
    const ended = deferred<void>()
    this.#last.set(key, ended.promise)
    try {
      await before
      return await work()
    } finally {
      ended.resolve()
      if (this.#last.get(key) === ended.promise) this.#last.delete(key)
    }
  }
}
