import { afterSilence } from '../../flow/after-silence.ts'
import type { Exchange, TransportResponse } from './exchange.ts'
import type { LineUse } from './line-use.ts'

export interface OvertakingOptions {
  /** Milliseconds without a sign of life after which nobody waits for a question. */
  readonly patienceMs: number
  readonly stallMs: number
  readonly lineUse: LineUse
}

/** Of the patience, and of what a connection may be silent: what is left of the patience is for the new connection. */
const shareOfPatience = 0.6
const maximumSilenceMs = 3000
/** While blobs come in an answer may only be late. */
const timesOnABusyLine = 3

/**
 * Sends a request a second time, beside the first, where a connection that had served before says nothing: a router
 * may have forgotten it without a word, or the line has a new address. Whichever answers first is taken.
 */
export class Overtaking {
  readonly #options: OvertakingOptions
  readonly #initialMs: number
  /** What is silent for longer is given up before anything is sent beside it. */
  readonly #mostMs: number
  /** Milliseconds of silence that look like a dead connection: more after each time that they were none. */
  #silenceMs: number

  constructor(options: OvertakingOptions) {
    this.#options = options
    this.#mostMs = options.stallMs * shareOfPatience
    this.#initialMs = Math.min(options.patienceMs * shareOfPatience, maximumSilenceMs, this.#mostMs)
    this.#silenceMs = this.#initialMs
  }

  /** The answer to `first`, or to the one that `begin` sends in its place. Rejects with the failure of the last one. */
  async answerOf(first: Exchange, begin: () => Exchange): Promise<TransportResponse> {
    const answer = first.response()
    if (!(await this.#isOverdue(first, answer))) return answer
    const second = begin()
    const other = second.response()
    const winner = await Promise.any([answer.then(() => first), other.then(() => second)]).catch(() => second)
    const isNeedless = winner === first
    this.#silenceMs = isNeedless ? Math.min(this.#silenceMs * 2, this.#mostMs) : this.#initialMs
    const [kept, left, loser] = isNeedless ? [answer, other, second] : [other, answer, first]
    loser.cancel()
    left.then(
      (response) => response.discard(),
      () => {},
    )
    return kept
  }

  /** Resolves with false as soon as `answer` settles. */
  async #isOverdue(exchange: Exchange, answer: Promise<unknown>): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const silenceMs = this.#silenceMs
    let heard: (() => void) | undefined
    const look = (isLast: boolean): void => {
      const isBusy = performance.now() - this.#options.lineUse.lastBytes < silenceMs
      if (isLast || !isBusy || !exchange.wasStale) resolve(exchange.wasStale)
      else
        heard = afterSilence(Math.min(timesOnABusyLine * silenceMs, this.#mostMs) - silenceMs, () =>
          look(true),
        )
    }
    heard = afterSilence(silenceMs, () => look(false))
    const settled = (): void => resolve(false)
    answer.then(settled, settled)
    try {
      return await promise
    } finally {
      heard()
    }
  }
}
