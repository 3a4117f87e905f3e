/**
 * Runs an operation once for all who ask for the same key while it runs. The operation never gets a caller's
 * signal: it belongs to all of them. Wrap the result in `abortable` to let one caller leave early.
 */
export class SingleFlight<Key, Value> {
  readonly #running = new Map<Key, Promise<Value>>()

  /** Starts `operation`, or joins the one under way for `key`. Rejects as the operation does. */
  run(key: Key, operation: () => Promise<Value>): Promise<Value> {
    const running = this.#running.get(key)
    if (running) return running
    const started = operation().finally(() => this.#running.delete(key))
    this.#running.set(key, started)
    return started
  }

  /** Tells whether an operation for `key` is under way. */
  has(key: Key): boolean {
    return this.#running.has(key)
  }
}
