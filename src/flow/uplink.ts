/** Slots of the line, one of several. */
export interface Sharer {
  /** Turns that are had or waited for. */
  readonly turnCount: number
  /** The priority of the best one of them at which somebody is at work; Infinity: none. */
  readonly best: number
  /** Milliseconds after which it is to be looked at again. */
  readonly reviewMs: number
  /** Lets those go on who may, and ends what has to give way. */
  adapt(): void
  /** The same, and ends turns that are over. */
  review(): void
}

/**
 * The one line that all upstreams are reached by. Each of them has slots of its own, but what nobody waits for gives way
 * to people wherever they are at work, and goes on when they are gone.
 */
export class Uplink {
  /** Those that have turns. */
  readonly #sharers = new Set<Sharer>()
  #timer: NodeJS.Timeout | undefined
  #timerMs: number | undefined
  #isAdapting = false
  #hasChanged = false

  /** The priority of the best turn at which somebody is at work; Infinity: none. */
  get best(): number {
    let best = Number.POSITIVE_INFINITY
    for (const sharer of this.#sharers) {
      best = Math.min(best, sharer.best)
      if (best === 0) break
    }
    return best
  }

  /** To be told when a turn has come or gone. */
  changed(sharer: Sharer): void {
    if (sharer.turnCount > 0) this.#sharers.add(sharer)
    else this.#sharers.delete(sharer)
    this.#hasChanged = true
    // A turn that is told to end may give its place back, or take one, at that very moment.
    if (this.#isAdapting) return
    this.#isAdapting = true
    try {
      while (this.#hasChanged) {
        this.#hasChanged = false
        for (const one of this.#sharers) one.adapt()
      }
    } finally {
      this.#isAdapting = false
      this.#watch()
    }
  }

  /** Clients come and go, and time passes, without a word to anybody here. A turn that is alone is in nobody's way. */
  #watch(): void {
    let count = 0
    let soonest = Number.POSITIVE_INFINITY
    for (const { turnCount, reviewMs } of this.#sharers) {
      count += turnCount
      soonest = Math.min(soonest, reviewMs)
    }
    const ms = count > 1 ? soonest : undefined
    if (ms === this.#timerMs) return
    this.#timerMs = ms
    if (this.#timer) clearInterval(this.#timer)
    this.#timer = ms === undefined ? undefined : setInterval(() => this.#review(), ms).unref()
  }

  #review(): void {
    for (const sharer of this.#sharers) sharer.review()
    this.#watch()
  }
}
