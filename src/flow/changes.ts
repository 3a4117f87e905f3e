/**
 * Wakes those who wait until something is as they need it. A wait that has ended leaves nothing behind, unlike a race
 * with a promise that lives longer than the wait.
 */
export class Changes {
  /** Those who wait for a while only. */
  readonly #waiting = new Set<() => void>()
  /** One promise for all others: a hundred readers of a blob on its way would be a hundred at each chunk. */
  #next: PromiseWithResolvers<void> | undefined

  /** Something has changed: everybody who waits looks again. */
  announce(): void {
    const next = this.#next
    this.#next = undefined
    next?.resolve()
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }

  /** Resolves at the next change, or after so many milliseconds where that is sooner. */
  next(withinMs?: number): Promise<void> {
    if (withinMs === undefined) {
      this.#next ??= Promise.withResolvers<void>()
      return this.#next.promise
    }
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        resolve()
      }
      this.#waiting.add(wake)
      const timer = setTimeout(wake, withinMs).unref()
    })
  }

  /**
   * Asks `look` now and after each change until it gives something. Rejects with what `look` throws, or with the
   * signal's reason when it aborts.
   */
  async until<Value>(look: () => Value | undefined, signal?: AbortSignal): Promise<Value> {
    const wake = (): void => this.announce()
    signal?.addEventListener('abort', wake, { once: true })
    try {
      for (;;) {
        signal?.throwIfAborted()
        const found = look()
        if (found !== undefined) return found
        await this.next()
      }
    } finally {
      signal?.removeEventListener('abort', wake)
    }
  }
}
