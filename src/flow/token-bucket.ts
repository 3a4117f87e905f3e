import { delay } from './abortable.ts'

/**
 * Bounds a rate that many share: each `take` waits until its amount is due. Whoever comes first is served first;
 * takes of a few KiB make the sharing fair.
 */
export class TokenBucket {
  readonly #rate: number
  /** When the bucket will have paid for all that was taken; milliseconds of the monotonic clock. */
  #paidUntil = 0

  /** `ratePerSecond` units flow in each second; a tenth of a second's worth may be saved up. */
  constructor(ratePerSecond: number) {
    this.#rate = ratePerSecond
  }

  /** Takes `amount` units and waits until they are due. Rejects when `signal` aborts; the units are gone then. */
  async take(amount: number, signal?: AbortSignal): Promise<void> {
    const now = performance.now()
    const start = Math.max(this.#paidUntil, now - 100)
    this.#paidUntil = start + (amount / this.#rate) * 1000
    const waitMs = this.#paidUntil - now
    if (waitMs > 1) await delay(waitMs, signal)
  }
}
