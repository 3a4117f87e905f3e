/**
 * Who of the clients of one blob goes on: some come when others have got so far, some take nothing more until all others
 * are done. Nobody waits for ever: where all wait, those are let in who wait outside, then those who pause.
 */
export class Stage {
  #running: number
  #front = 0
  readonly #outside: { readonly position: number; readonly enter: () => void }[] = []
  readonly #paused: (() => void)[] = []

  /** `clients`: each of them calls `enter` and, at its end, `leave`. */
  constructor(clients: number) {
    this.#running = clients
  }

  /** Resolves when somebody has got as far as `position`. */
  async enter(position: number): Promise<void> {
    if (position <= this.#front) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#outside.push({ position, enter: resolve })
    await this.#away(promise)
  }

  /** Somebody has got so far. */
  reached(position: number): void {
    if (position <= this.#front) return
    this.#front = position
    const isDue = (one: { readonly position: number }): boolean => one.position <= position
    for (let at = this.#outside.findIndex(isDue); at >= 0; at = this.#outside.findIndex(isDue))
      this.#outside.splice(at, 1)[0]?.enter()
  }

  /** Resolves when nobody else goes on. */
  async pause(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#paused.push(resolve)
    await this.#away(promise)
  }

  leave(): void {
    this.#running -= 1
    this.#goOn()
  }

  async #away(until: Promise<void>): Promise<void> {
    this.leave()
    await until
    this.#running += 1
  }

  #goOn(): void {
    if (this.#running > 0) return
    const outside = this.#outside.splice(0).map(({ enter }) => enter)
    for (const goOn of outside.length > 0 ? outside : this.#paused.splice(0)) goOn()
  }
}
