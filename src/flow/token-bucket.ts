import { delay } from './abortable.ts'

/** Milliseconds whose worth may be saved up: closed spans of one connection come with a round trip between them. */
const savedMs = 250

/**
 * Bounds a rate that many share: each `take` waits until its amount is due. Whoever comes first is served first;
 * takes of a few KiB make the sharing fair.
 */
export class TokenBucket {
  readonly #rate: number
  /** When the bucket will have paid for all that was taken; milliseconds of the monotonic clock. */
  #paidUntil = 0

  /** `ratePerSecond` units flow in each second; a quarter of a second's worth may be saved up. */
  constructor(ratePerSecond: number) {
    this.#rate = ratePerSecond
  }

  /** Units that flow in each second. */
  get perSecond(): number {
    return this.#rate
  }

  /** Takes `amount` units and waits until they are due; of none, until all that was taken is. Rejects when `signal` aborts; the units are gone then. */
  async take(amount: number, signal?: AbortSignal): Promise<void> {
    this.charge(amount)
    const waitMs = this.#paidUntil - performance.now()
    if (waitMs > 1) await delay(waitMs, signal)
  }

  /** Takes `amount` units that nobody waits for: they are owed, and those who take later wait for them. */
  charge(amount: number): void {
    const start = Math.max(this.#paidUntil, performance.now() - savedMs)
    this.#paidUntil = start + (amount / this.#rate) * 1000
  }
}
