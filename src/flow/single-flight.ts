import { Pulse } from './pulse.ts'

/**
 * Runs an operation once for all who ask for the same key while it runs. The operation never gets a caller's
 * signal: it belongs to all of them. Wrap the result in `abortable` to let one caller leave early.
 */
export class SingleFlight<Key, Value> {
  readonly #running = new Map<Key, { work: Promise<Value>; pulse: Pulse }>()

  /**
   * Starts `operation`, or joins the one under way for `key`. Rejects as the operation does, or earlier where its pulse
   * falls silent: then it goes on without those who waited.
   */
  run(key: Key, operation: () => Promise<Value>): Promise<Value> {
    const { work, pulse } = this.#running.get(key) ?? this.#start(key, operation)
    return pulse.whileAlive(work)
  }

  /** Tells whether an operation for `key` is under way. */
  has(key: Key): boolean {
    return this.#running.has(key)
  }

  #start(key: Key, operation: () => Promise<Value>): { work: Promise<Value>; pulse: Pulse } {
    const pulse = new Pulse()
    const work = pulse.run(operation).finally(() => this.#running.delete(key))
    const started = { work, pulse }
    this.#running.set(key, started)
    return started
  }
}
