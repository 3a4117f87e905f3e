import { abortable } from './abortable.ts'

/** A place among those that are taken at a time; to be given back once, more often does no harm. */
export type Place = Disposable

/** Bounds how many have a place at a time; whoever comes first is served first. */
export class Places {
  #free: number
  readonly #count: number
  readonly #waiting = new Set<PromiseWithResolvers<void>>()

  /** `count` places. */
  constructor(count: number) {
    this.#count = count
    this.#free = count
  }

  /** Whether nobody has a place. */
  get isIdle(): boolean {
    return this.#free === this.#count
  }

  /** Takes a place; undefined where it has to be waited for. */
  tryTake(): Place | undefined {
    if (this.#free === 0) return undefined
    this.#free -= 1
    return this.#slot()
  }

  /** Takes a place, or waits for one. Rejects with the reason of `signal` when it aborts before. */
  async take(signal?: AbortSignal): Promise<Place> {
    signal?.throwIfAborted()
    const slot = this.tryTake()
    if (slot) return slot
    await this.#wait(signal)
    return this.#slot()
  }

  #slot(): Place {
    let isTaken = true
    return {
      [Symbol.dispose]: () => {
        if (isTaken) this.#giveBack()
        isTaken = false
      },
    }
  }

  async #wait(signal: AbortSignal | undefined): Promise<void> {
    const turn = Promise.withResolvers<void>()
    this.#waiting.add(turn)
    try {
      await abortable(turn.promise, signal)
    } catch (error) {
      // 1. a place is given to this one; 2. its signal aborts before it has woken: the place goes on to the next one.
      if (!this.#waiting.delete(turn)) this.#giveBack()
      throw error
    }
  }

  /** The place goes to the first who waits without ever being free: nobody who comes now gets in between. */
  #giveBack(): void {
    const [first] = this.#waiting
    if (!first) this.#free += 1
    else {
      this.#waiting.delete(first)
      first.resolve()
    }
  }
}
