import type { Logger } from 'pino'
import { afterSilence } from '../../flow/after-silence.ts'
import { CircuitBreaker } from '../../flow/circuit-breaker.ts'
import { Pulse } from '../../flow/pulse.ts'
import { Silence } from '../../flow/silence.ts'
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

/** Milliseconds; an upstream that says nothing is silent within a second. */
const firstLookMs = 450
const timesOnABusyLine = 3

/**
 * Asks nothing while the upstream cannot be reached: two failures in a row open the circuit, of which the second is mostly
 * that of a look. Silence may be about what was asked: it does not count where something else was answered meanwhile, such
 * as whether it is there, which is asked in time.
 */
export class WhileReachable implements Link, AsyncDisposable {
  readonly #next: Link
  readonly #options: WhileReachableOptions
  readonly #breaker: CircuitBreaker
  readonly #silence: Silence

  constructor(next: Link, options: WhileReachableOptions) {
    const { upstream, lineUse, patienceMs, onOpen, logger } = options
    this.#next = next
    this.#options = options
    this.#breaker = new CircuitBreaker({
      threshold: 2,
      probeEveryMs: [1000, 15_000],
      probe: (signal, silenceMs) => this.#probe(signal, silenceMs),
      onChange: (state, cause) => {
        this.#silence.ended()
        if (state === 'closed') return logger.info({ upstream }, 'upstream is back')
        const reason = reasonOf(cause, upstream)
        logger.warn({ upstream, reason }, 'upstream cannot be reached: serving what is cached')
        onOpen()
      },
    })
    this.#silence = new Silence({
      lookMs: [Math.min(firstLookMs, patienceMs / 2), patienceMs / 2],
      isBusy: () => performance.now() - lineUse.lastBytes < firstLookMs,
      onLook: () => this.#breaker.look(),
    })
  }

  /** Whether it answered when it was last needed. */
  get isReachable(): boolean {
    return !this.#breaker.isOpen
  }

  /** Whether nobody need wait for it who can do without: it cannot be reached, or was asked and has said nothing for a second. */
  get isSilent(): boolean {
    return this.#silence.isSilent || !this.isReachable
  }

  /** Why it cannot be reached. */
  get cause(): unknown {
    return this.#breaker.cause
  }

  /** Calls `listener` when it falls silent, now where it is. Returns what ends that. */
  whenSilent(listener: () => void): () => void {
    return this.#silence.whenSilent(listener)
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
    let isAnswered = false
    const askedAt = performance.now()
    const failed = (error: UpstreamError): void => {
      if (!isTold) this.#failed(error, askedAt)
      isTold = true
    }
    const onRedirect = (): void => {
      isTold = true
      this.#silence.answered()
    }
    const over = this.#silence.asked()
    const pulse = this.#newPulse()
    const stopLeading = pulse.leadCurrent()
    try {
      const part = () => pulse.run(() => this.#next.request({ ...question, onRedirect }))
      const answer = await watchOver(part, { ...this.#options, onSilence: failed })
      this.#breaker.succeeded()
      isAnswered = true
      return answer
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      // It was there, and sent us on.
      if (error.isElsewhere) this.#breaker.succeeded()
      else if (error.opensCircuit) failed(error)
      throw error
    } finally {
      stopLeading()
      over(isAnswered)
    }
  }

  /** It could not be reached, as somebody else has found out. */
  failed(error: unknown): void {
    this.#breaker.failed(error)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#silence[Symbol.dispose]()
    await this.#breaker[Symbol.asyncDispose]()
  }

  #newPulse(): Pulse {
    return new Pulse((stepMs) => {
      if (stepMs === undefined) this.#silence.answered()
      else this.#silence.stepped(stepMs)
    })
  }

  #failed(error: UpstreamError, askedAt: number): void {
    const { upstream, lineUse, patienceMs } = this.#options
    // Blobs of the same upstream that come in may fill the line.
    const isThere = this.#breaker.heardAt >= askedAt || lineUse.isBusy(upstream, patienceMs)
    if (error.code !== 'TIMED_OUT' || !isThere) this.#breaker.failed(error)
  }

  /** Rejects with UpstreamError TIMED_OUT where it gives no sign of life for so long; what fills the line makes it late. */
  async #probe(signal: AbortSignal, silenceMs: number): Promise<void> {
    const { upstream, lineUse, probe } = this.#options
    const pulse = this.#newPulse()
    const silent = new AbortController()
    const over = this.#silence.asked()
    let stop = (): void => {}
    const look = (): void => {
      const now = performance.now()
      const isBusy = now - lineUse.lastBytes < silenceMs
      const leftMs = pulse.silentAt(silenceMs * (isBusy ? timesOnABusyLine : 1)) - now
      if (leftMs > 0) stop = afterSilence(leftMs, look)
      else {
        const message = `no sign of life for ${Math.round((now - pulse.lastBeat) / 1000)} s`
        silent.abort(new UpstreamError('TIMED_OUT', upstream, message))
      }
    }
    stop = afterSilence(silenceMs, look)
    try {
      await pulse.run(() => probe(AbortSignal.any([signal, silent.signal])))
      this.#silence.answered()
    } finally {
      stop()
      // How fast it says that it is there tells nothing of how fast it finds a manifest.
      over(false)
    }
  }
}
