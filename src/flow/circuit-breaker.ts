import { abortable, delay } from './abortable.ts'
import { backoffMs } from './backoff.ts'

export interface CircuitBreakerOptions {
  /** Failures in a row, with no success between, that open the circuit; a look that fails is one of them. */
  readonly threshold: number
  /** Milliseconds between two probes while open, at most (see `backoffMs`); doubles from the first to the second figure. */
  readonly probeEveryMs: readonly [first: number, last: number]
  /** Asks whether the other side is back; rejects while it is not, or says nothing for so many milliseconds. */
  readonly probe: (signal: AbortSignal, silenceMs: number) => Promise<void>
  readonly onChange?: (state: 'open' | 'closed', cause: unknown) => void
  readonly random?: (() => number) | undefined
}

/** Milliseconds after the opening in which work may begin and still wait for the peer. */
const soonMs = 8000
/** Milliseconds between two probes while somebody waits, at most. */
const longestWhileWaitedForMs = 3000
/** Milliseconds in which a peer has to give a sign that it is there. */
const silenceMs = 5000
/** The same after a failure: with the moment before it, the circuit is open within a second where nobody is there. */
const silenceAfterFailureMs = 700
/** Milliseconds from a failure to the look that it causes: whoever asks by itself again comes first. */
const lookAfterMs = 250

/**
 * Makes a dead peer cost nothing: after some failures in a row callers are refused at once, while a probe in the
 * background finds out when the peer is back. One failure makes it look for the next one, so that nobody else has to meet
 * it. No caller ever pays for a probe, and there is one at a time.
 */
export class CircuitBreaker implements AsyncDisposable {
  readonly #options: CircuitBreakerOptions
  readonly #stopped = new AbortController()
  #failures = 0
  #cause: unknown
  #probing: Promise<void> | undefined
  #looking: { readonly over: AbortController; readonly isUrgent: boolean; ended: Promise<void> } | undefined
  #heardAt = Number.NEGATIVE_INFINITY
  /** Each leaves nothing behind when it ends, as a race with the probing would. */
  readonly #waiting = new Set<() => void>()
  /** Ends a pause between two probes, whose length is found anew then. */
  #reconsider = (): void => {}
  #isDue = false
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
    this.#looking?.over.abort()
    // An answer to what was asked before: there is no reason to wait for the next probe.
    this.#isDue = true
    this.#reconsider()
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
    this.#reconsider()
    try {
      await abortable(over.promise, signal)
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(over.resolve)
    }
  }

  /** The peer could not be reached or did not answer. */
  failed(cause: unknown): void {
    if (this.isOpen || this.#stopped.signal.aborted) return
    this.#failures += 1
    if (this.#failures < this.#options.threshold) {
      if (!this.#looking?.isUrgent) this.#beginLook(true)
      return
    }
    this.#looking?.over.abort()
    this.#cause = cause
    this.#openedAt = performance.now()
    this.#probing = this.#probeUntilBack(this.#looking?.ended).finally(() => {
      this.#probing = undefined
      for (const wake of this.#waiting) wake()
    })
    this.#options.onChange?.('open', cause)
  }

  /** Asks whether the peer is there, on behalf of somebody to whom it says nothing so far. */
  look(): void {
    if (!this.#looking && !this.isOpen) this.#beginLook(false)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort()
    await this.#looking?.ended
    await this.#probing
  }

  /** In place of one under way, which may wait for longer than an urgent one: that of a failure. */
  #beginLook(isUrgent: boolean): void {
    if (this.#stopped.signal.aborted) return
    const before = this.#looking
    before?.over.abort()
    const over = new AbortController()
    const signal = AbortSignal.any([this.#stopped.signal, over.signal])
    const look = async (): Promise<void> => {
      try {
        if (before) await before.ended
        if (isUrgent) await delay(lookAfterMs, signal)
        signal.throwIfAborted()
        await this.#options.probe(signal, isUrgent ? silenceAfterFailureMs : silenceMs)
        if (!signal.aborted) this.succeeded()
      } catch (error) {
        if (signal.aborted) return
        this.#looking = undefined
        this.failed(error)
      } finally {
        if (this.#looking === looking) this.#looking = undefined
      }
    }
    const looking = { over, isUrgent, ended: Promise.resolve() }
    this.#looking = looking
    looking.ended = look()
  }

  async #probeUntilBack(look: Promise<void> | undefined): Promise<void> {
    const { probeEveryMs, random } = this.#options
    const [firstMs, capMs] = probeEveryMs
    const { signal } = this.#stopped
    if (look) await look
    this.#isDue = false
    let begunAt = this.#openedAt
    for (let probes = 1; !signal.aborted; probes += 1) {
      try {
        await this.#pause(begunAt, backoffMs(probes, { firstMs, capMs, random }), signal)
        begunAt = performance.now()
        this.#isDue = false
        await this.#options.probe(signal, this.#waiting.size > 0 ? longestWhileWaitedForMs : silenceMs)
        this.succeeded()
        this.#options.onChange?.('closed', undefined)
        return
      } catch (error) {
        this.#cause = signal.aborted ? this.#cause : error
      }
    }
  }

  /** Until `waitMs` after the last probe began, and less while somebody waits. */
  async #pause(begunAt: number, waitMs: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      const most = this.#waiting.size > 0 ? Math.min(waitMs, longestWhileWaitedForMs) : waitMs
      const leftMs = begunAt + most - performance.now()
      signal.throwIfAborted()
      if (leftMs <= 0 || this.#isDue) return
      const over = Promise.withResolvers<void>()
      this.#reconsider = over.resolve
      const timer = setTimeout(over.resolve, leftMs).unref()
      try {
        await abortable(over.promise, signal)
      } finally {
        clearTimeout(timer)
      }
    }
  }
}
