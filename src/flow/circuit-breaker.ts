import { abortable, delay } from './abortable.ts'

export interface CircuitBreakerOptions {
  /** Failures in a row, with no success between, that open the circuit. */
  readonly threshold: number
  /** Milliseconds between two probes while open; doubles from the first to the second figure. */
  readonly probeEveryMs: readonly [first: number, last: number]
  /** Asks whether the other side is back; rejects while it is not. */
  readonly probe: (signal: AbortSignal) => Promise<void>
  readonly onChange?: (state: 'open' | 'closed', cause: unknown) => void
}

/** Milliseconds after the opening in which work may begin and still wait for the peer. */
const soonMs = 8000
/** Milliseconds between two probes while somebody waits, at most. */
const longestWhileWaitedForMs = 3000
/** Milliseconds in which a peer has to tell that it is there. */
const lookMs = 5000

/**
 * Makes a dead peer cost nothing: after some failures in a row callers are refused at once, while a probe in the
 * background finds out when the peer is back. No caller ever pays for a probe.
 */
export class CircuitBreaker implements AsyncDisposable {
  readonly #options: CircuitBreakerOptions
  readonly #stopped = new AbortController()
  #failures = 0
  #cause: unknown
  #probing: Promise<void> | undefined
  #looking: Promise<void> | undefined
  #heardAt = Number.NEGATIVE_INFINITY
  /** Each leaves nothing behind when it ends, as a race with the probing would. */
  readonly #waiting = new Set<() => void>()
  /** Milliseconds of the monotonic clock. */
  #openedAt = 0

  constructor(options: CircuitBreakerOptions) {
    this.#options = options
  }

  /** Whether callers are to be refused. */
  get isOpen(): boolean {
    return this.#probing !== undefined
  }

  /** The failure that opened the circuit. */
  get cause(): unknown {
    return this.#cause
  }

  /** When the peer was last heard, in milliseconds of the monotonic clock. */
  get heardAt(): number {
    return this.#heardAt
  }

  /** The peer answered, whatever it said. */
  succeeded(): void {
    this.#failures = 0
    this.#heardAt = performance.now()
  }

  /**
   * Waits for a peer that was there and has gone, on behalf of work that began (`askedAt`, milliseconds of the monotonic
   * clock) before that was known, or soon after: until the peer is back, or `forMs` after the circuit opened. At once
   * where it is closed, for work that began later, and where the peer was never heard. Rejects when `signal` aborts.
   */
  async comeBack(askedAt: number, forMs: number, signal?: AbortSignal): Promise<void> {
    const leftMs = this.#openedAt + forMs - performance.now()
    if (
      !this.#probing ||
      leftMs <= 0 ||
      this.#heardAt === Number.NEGATIVE_INFINITY ||
      askedAt > this.#openedAt + soonMs
    )
      return
    const over = Promise.withResolvers<void>()
    const timer = setTimeout(over.resolve, leftMs).unref()
    this.#waiting.add(over.resolve)
    try {
      await abortable(over.promise, signal)
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(over.resolve)
    }
  }

  /** The peer could not be reached or did not answer. */
  failed(cause: unknown): void {
    this.#failures += 1
    if (this.#failures < this.#options.threshold || this.isOpen || this.#stopped.signal.aborted) return
    this.#cause = cause
    this.#openedAt = performance.now()
    this.#probing = this.#probeUntilBack().finally(() => {
      this.#probing = undefined
      for (const wake of this.#waiting) wake()
    })
    this.#options.onChange?.('open', cause)
  }

  /** Asks whether the peer is there, on behalf of somebody to whom it says nothing so far; only its answer counts. */
  look(): void {
    const { signal } = this.#stopped
    if (this.#looking || this.isOpen || signal.aborted) return
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(lookMs)])
    this.#looking = this.#options
      .probe(inTime)
      .then(() => this.succeeded())
      .catch(() => {})
      .finally(() => {
        this.#looking = undefined
      })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort()
    await this.#looking
    await this.#probing
  }

  async #probeUntilBack(): Promise<void> {
    const [first, last] = this.#options.probeEveryMs
    const { signal } = this.#stopped
    for (let waitMs = first; !signal.aborted; waitMs = Math.min(waitMs * 2, last)) {
      try {
        await delay(this.#waiting.size > 0 ? Math.min(waitMs, longestWhileWaitedForMs) : waitMs, signal)
        await this.#options.probe(signal)
        this.succeeded()
        this.#options.onChange?.('closed', undefined)
        return
      } catch (error) {
        this.#cause = signal.aborted ? this.#cause : error
      }
    }
  }
}
