import { abortable } from './abortable.ts'

export interface SharesOptions {
  /** What there is in all, such as bytes or places. */
  readonly total: number
  /** What one client may have of it. */
  readonly perClient: number
  /** Milliseconds for which what is not free is waited for. */
  readonly patienceMs: number
  /** Milliseconds of rest after which a share is over where others wait. */
  readonly restMs: number
}

/** A part of what is shared out; to be given back once, more often does no harm. */
export interface Share extends Disposable {
  /** It is held for somebody who does nothing, from now on: the signal aborts when it is over, and it shall be given back. */
  rest(): AbortSignal
  /** It is made use of again. */
  use(): void
}

interface Holder {
  readonly client: string
  readonly weight: number
  /** Milliseconds of `performance.now()`; undefined while it is made use of. */
  restingSince: number | undefined
  over: AbortController
}

interface Waiting {
  readonly client: string
  readonly weight: number
  readonly given: PromiseWithResolvers<Holder | undefined>
}

const reviewMs = 250

/**
 * Shares something scarce out among clients. Who waits is served when there is enough: first whose client has the least,
 * then who came first. A client has no more than its part; and where somebody waits, whoever rests gives back.
 */
export class Shares {
  readonly #options: SharesOptions
  readonly #holders = new Set<Holder>()
  /** In the order in which they came. */
  readonly #waiting = new Set<Waiting>()
  /** Of clients that have anything. */
  readonly #held = new Map<string, number>()
  #free: number
  #review: NodeJS.Timeout | undefined

  constructor(options: SharesOptions) {
    this.#options = options
    this.#free = options.total
  }

  /** What one client may have. */
  get perClient(): number {
    return this.#options.perClient
  }

  /** How many wait. */
  get waitingCount(): number {
    return this.#waiting.size
  }

  /** Takes so much, at most what one client may have; undefined where that has to be waited for. */
  tryTake(client: string, weight: number): Share | undefined {
    if (!this.#fitsOwn(client, weight) || weight > this.#free) return undefined
    // Whoever waits for his own client's part, and for no room, is not passed.
    for (const one of this.#waiting) if (this.#fitsOwn(one.client, one.weight)) return undefined
    return this.#share(this.#give(client, weight))
  }

  /**
   * Takes so much, at most what one client may have, or waits for it; undefined where that takes too long, but for those
   * who are patient. Rejects with the reason of `signal` when it aborts.
   */
  async take(
    client: string,
    weight: number,
    {
      signal,
      isPatient = false,
    }: { readonly signal?: AbortSignal | undefined; readonly isPatient?: boolean },
  ): Promise<Share | undefined> {
    signal?.throwIfAborted()
    const share = this.tryTake(client, weight)
    if (share) return share
    const waiting: Waiting = { client, weight, given: Promise.withResolvers() }
    this.#waiting.add(waiting)
    this.#review ??= setInterval(() => this.#endResting(), Math.min(reviewMs, this.#options.restMs)).unref()
    const giveUp = (): void => {
      if (this.#waiting.has(waiting)) this.#leave(waiting)
    }
    const timer = isPatient ? undefined : setTimeout(giveUp, this.#options.patienceMs).unref()
    try {
      const holder = await abortable(waiting.given.promise, signal)
      return holder && this.#share(holder)
    } catch (error) {
      // 1. its signal aborts; 2. it is given its share before it has woken.
      if (this.#waiting.has(waiting)) this.#leave(waiting)
      else this.#giveBack(await waiting.given.promise)
      throw error
    } finally {
      clearTimeout(timer)
      if (this.#waiting.size === 0) {
        clearInterval(this.#review)
        this.#review = undefined
      }
    }
  }

  #leave(waiting: Waiting): void {
    this.#waiting.delete(waiting)
    waiting.given.resolve(undefined)
    // Those behind it may need less.
    this.#serve()
  }

  #share(holder: Holder): Share {
    return {
      rest: () => {
        if (holder.restingSince === undefined) holder.over = new AbortController()
        holder.restingSince ??= performance.now()
        return holder.over.signal
      },
      use: () => {
        holder.restingSince = undefined
      },
      [Symbol.dispose]: () => this.#giveBack(holder),
    }
  }

  #fitsOwn(client: string, weight: number): boolean {
    return (this.#held.get(client) ?? 0) + weight <= this.#options.perClient
  }

  #give(client: string, weight: number): Holder {
    const holder: Holder = { client, weight, restingSince: undefined, over: new AbortController() }
    this.#holders.add(holder)
    this.#held.set(client, (this.#held.get(client) ?? 0) + weight)
    this.#free -= weight
    return holder
  }

  #giveBack(holder: Holder | undefined): void {
    if (!holder || !this.#holders.delete(holder)) return
    const { client, weight } = holder
    const left = (this.#held.get(client) ?? 0) - weight
    if (left > 0) this.#held.set(client, left)
    else this.#held.delete(client)
    this.#free += weight
    this.#serve()
  }

  /** Whoever needs much is not passed by those who need less, or it would never come to that. */
  #serve(): void {
    for (;;) {
      const next = this.#inOrder().find(({ client, weight }) => this.#fitsOwn(client, weight))
      if (!next || next.weight > this.#free) return
      this.#waiting.delete(next)
      next.given.resolve(this.#give(next.client, next.weight))
    }
  }

  #inOrder(): Waiting[] {
    const heldBy = ({ client }: Waiting): number => this.#held.get(client) ?? 0
    return [...this.#waiting].toSorted((a, b) => heldBy(a) - heldBy(b))
  }

  /** Ends as much as those who wait need: of their own client, where they wait for that, else of whoever has most. */
  #endResting(): void {
    const before = performance.now() - this.#options.restMs
    const resting = [...this.#holders].filter(({ restingSince }) => (restingSince ?? before) < before)
    const coming = resting.filter(({ over }) => over.signal.aborted)
    const candidates = resting.filter(({ over }) => !over.signal.aborted)
    const held = new Map(this.#held)
    let free = this.#free
    const count = ({ client, weight }: { client: string; weight: number }, sign: 1 | -1): void => {
      held.set(client, of(client) - sign * weight)
      free += sign * weight
    }
    const of = (client: string): number => held.get(client) ?? 0
    for (const holder of coming) count(holder, 1)
    const endOne = (client: string | undefined): boolean => {
      const eligible = candidates.filter((one) => client === undefined || one.client === client)
      if (eligible.length === 0) return false
      const most = eligible.reduce((a, b) => (of(b.client) > of(a.client) ? b : a))
      candidates.splice(candidates.indexOf(most), 1)
      most.over.abort(new Error('somebody else waits for it'))
      count(most, 1)
      return true
    }
    for (const waiting of this.#inOrder()) {
      const { client, weight } = waiting
      const isOwn = (): boolean => of(client) + weight > this.#options.perClient
      while (isOwn()) if (!endOne(client)) break
      if (isOwn()) continue
      while (weight > free) if (!endOne(undefined)) return
      count(waiting, -1)
    }
  }
}
