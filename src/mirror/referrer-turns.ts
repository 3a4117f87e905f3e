import pLimit, { type LimitFunction } from 'p-limit'
import { UpstreamError } from '../upstream/error.ts'

/** Lists that are fetched and read at a time, for each upstream: each may be of megabytes. */
const atOnce = { known: 4, unknown: 2 }
const maximumWaiting = 1000

/**
 * Whose turn it is to ask an upstream for referrers. Subjects of which nothing is here, which anyone may make up, wait
 * in a line of their own.
 */
export class ReferrerTurns {
  readonly #limits = new Map<string, LimitFunction>()
  readonly #patienceMs: number

  /** `patienceMs`: milliseconds after which nobody waits for a turn any more. */
  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs
  }

  /** Does `work` when it is its turn. Throws UpstreamError TIMED_OUT where that does not come in time. */
  async take<Value>(upstream: string, isHere: boolean, work: () => Promise<Value>): Promise<Value> {
    const fail = () =>
      new UpstreamError(
        'TIMED_OUT',
        upstream,
        'too many questions for referrers wait for it: ask again later',
      )
    const limit = this.#limitOf(upstream, isHere ? 'known' : 'unknown')
    if (limit.pendingCount >= maximumWaiting) throw fail()
    const begin = performance.now()
    return limit(async () => {
      if (performance.now() - begin > this.#patienceMs) throw fail()
      return work()
    })
  }

  #limitOf(upstream: string, line: keyof typeof atOnce): LimitFunction {
    const key = `${line} ${upstream}`
    const limit = this.#limits.get(key) ?? pLimit(atOnce[line])
    this.#limits.set(key, limit)
    return limit
  }
}
