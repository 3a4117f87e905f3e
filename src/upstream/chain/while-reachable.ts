import type { Logger } from 'pino'
import { CircuitBreaker } from '../../flow/circuit-breaker.ts'
import type { LineUse } from '../connections/line-use.ts'
import { reasonOf, UpstreamError } from '../error.ts'
import type { Answer, Link, Question } from '../question.ts'
import { type WatchOptions, watchOver } from '../watch-over.ts'

export interface WhileReachableOptions extends Pick<WatchOptions, 'busyPatienceMs'> {
  /** The upstream's name, for errors and the log. */
  readonly upstream: string
  readonly lineUse: LineUse
  /** Milliseconds without a sign of life after which nobody has to wait for the answer to a question any more. */
  readonly patienceMs: number
  /** Asks whether the upstream is back; rejects while it is not. */
  readonly probe: (signal: AbortSignal) => Promise<void>
  /** Called when the circuit has opened. */
  readonly onOpen: () => void
  readonly logger: Logger
}

/**
 * Asks nothing while the upstream cannot be reached: two failures in a row open the circuit. Silence may be about what was
 * asked: it does not count where something else was answered meanwhile, such as whether it is there, which is asked in time.
 */
export class WhileReachable implements Link, AsyncDisposable {
  readonly #next: Link
  readonly #options: WhileReachableOptions
  readonly #breaker: CircuitBreaker

  constructor(next: Link, options: WhileReachableOptions) {
    const { upstream, probe, onOpen, logger } = options
    this.#next = next
    this.#options = options
    this.#breaker = new CircuitBreaker({
      threshold: 2,
      probeEveryMs: [1000, 15_000],
      probe,
      onChange: (state, cause) => {
        if (state === 'closed') return logger.info({ upstream }, 'upstream is back')
        const reason = reasonOf(cause, upstream)
        logger.warn({ upstream, reason }, 'upstream cannot be reached: serving what is cached')
        onOpen()
      },
    })
  }

  /** Whether it answered when it was last needed. */
  get isReachable(): boolean {
    return !this.#breaker.isOpen
  }

  /** Why it cannot be reached. */
  get cause(): unknown {
    return this.#breaker.cause
  }

  /** Throws UpstreamError CIRCUIT_OPEN without asking while it cannot be reached, or did not come back in time. */
  async request(question: Question): Promise<Answer> {
    const { upstream } = this.#options
    const { patience, signal } = question
    if (patience) await this.#breaker.comeBack(patience.since, patience.forMs, signal)
    if (!this.isReachable) {
      const message = `it cannot be reached: ${reasonOf(this.cause, upstream)}; it is not asked before it answers again`
      throw new UpstreamError('CIRCUIT_OPEN', upstream, message)
    }
    // One question says one thing: that it sent us on, or its first silence, or its failure.
    let isTold = false
    const askedAt = performance.now()
    const failed = (error: UpstreamError): void => {
      if (!isTold) this.#failed(error, askedAt)
      isTold = true
    }
    const onRedirect = (): void => {
      isTold = true
    }
    const silence = setTimeout(() => this.#breaker.look(), this.#options.patienceMs / 2).unref()
    try {
      const part = () => this.#next.request({ ...question, onRedirect })
      const answer = await watchOver(part, { ...this.#options, onSilence: failed })
      this.#breaker.succeeded()
      return answer
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      // It was there, and sent us on.
      if (error.isElsewhere) this.#breaker.succeeded()
      else if (error.opensCircuit) failed(error)
      throw error
    } finally {
      clearTimeout(silence)
    }
  }

  /** It could not be reached, as somebody else has found out. */
  failed(error: unknown): void {
    this.#breaker.failed(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#breaker[Symbol.asyncDispose]()
  }

  #failed(error: UpstreamError, askedAt: number): void {
    const { upstream, lineUse, patienceMs } = this.#options
    // Blobs of the same upstream that come in may fill the line.
    const isThere = this.#breaker.heardAt >= askedAt || lineUse.isBusy(upstream, patienceMs)
    if (error.code !== 'TIMED_OUT' || !isThere) this.#breaker.failed(error)
  }
}
