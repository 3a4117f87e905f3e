import { Pulse } from './pulse.ts'

export interface SingleFlightOptions {
  /** Milliseconds for which an operation goes on that was silent, and that nobody waits for any more. */
  readonly unattendedMs?: number
  /** How many of those go on at a time; the oldest gives way. */
  readonly maximumUnattended?: number
}

/** One operation, and those who wait for it. */
interface Flight<Value> {
  readonly pulse: Pulse
  readonly waiters: Set<PromiseWithResolvers<Value>>
  /** Aborts its signal, and lets nobody join it any more. */
  readonly cancel: () => void
  /** Whether somebody left because it was silent, and was told that it goes on. */
  isPromised: boolean
  deadline: NodeJS.Timeout | undefined
}

/** A peer that says nothing at all is given up sooner; an answer that begins after all may take a while. */
const defaultUnattendedMs = 60_000
const defaultMaximumUnattended = 8

/**
 * Runs an operation once for all who ask for the same key while it runs. It gets a signal of its own, never a caller's:
 * that aborts when the last of them has left. What shows no sign of life goes on without them for a while, for the next
 * one who asks.
 */
export class SingleFlight<Key, Value> {
  readonly #running = new Map<Key, Flight<Value>>()
  /** Those that nobody waits for, the oldest first. */
  readonly #unattended = new Set<Flight<Value>>()
  readonly #unattendedMs: number
  readonly #maximumUnattended: number

  constructor(options: SingleFlightOptions = {}) {
    this.#unattendedMs = options.unattendedMs ?? defaultUnattendedMs
    this.#maximumUnattended = options.maximumUnattended ?? defaultMaximumUnattended
  }

  /**
   * Starts `operation`, or joins the one under way for `key`. Rejects as the operation does, or earlier: where its pulse
   * falls silent, and with the reason of `signal` when that aborts. Whoever has no signal waits until then.
   */
  async run(
    key: Key,
    operation: (signal: AbortSignal) => Promise<Value>,
    signal?: AbortSignal | undefined,
  ): Promise<Value> {
    signal?.throwIfAborted()
    const flight = this.#running.get(key) ?? this.#start(key, operation)
    const waiter = Promise.withResolvers<Value>()
    // They are a set, and do not race the work: each would leave a little at a promise that may live longer.
    flight.waiters.add(waiter)
    this.#attended(flight)
    const onAbort = (): void => waiter.reject(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    const stopBeating = flight.pulse.leadCurrent()
    const stopListening = flight.pulse.whenSilent((reason) => {
      flight.isPromised = true
      waiter.reject(reason)
    })
    try {
      return await waiter.promise
    } finally {
      stopListening()
      stopBeating()
      signal?.removeEventListener('abort', onAbort)
      flight.waiters.delete(waiter)
      if (flight.waiters.size === 0 && this.#running.get(key) === flight) this.#leave(flight)
    }
  }

  /** Tells whether an operation for `key` is under way. */
  has(key: Key): boolean {
    return this.#running.has(key)
  }

  #start(key: Key, operation: (signal: AbortSignal) => Promise<Value>): Flight<Value> {
    const cancelled = new AbortController()
    const end = (): void => {
      this.#attended(flight)
      // Another one may have begun since this one was cancelled.
      if (this.#running.get(key) === flight) this.#running.delete(key)
    }
    const flight: Flight<Value> = {
      pulse: new Pulse(),
      waiters: new Set(),
      cancel: () => {
        end()
        cancelled.abort(new Error('nobody waits for the answer any more'))
      },
      isPromised: false,
      deadline: undefined,
    }
    this.#running.set(key, flight)
    const settle = (tell: (waiter: PromiseWithResolvers<Value>) => void): void => {
      end()
      for (const waiter of flight.waiters) tell(waiter)
    }
    flight.pulse
      .run(async () => operation(cancelled.signal))
      .then(
        (value) => settle(({ resolve }) => resolve(value)),
        (error: unknown) => settle(({ reject }) => reject(error)),
      )
    return flight
  }

  #leave(flight: Flight<Value>): void {
    if (!flight.isPromised) {
      flight.cancel()
      return
    }
    flight.deadline = setTimeout(flight.cancel, this.#unattendedMs).unref()
    this.#unattended.add(flight)
    const [oldest] = this.#unattended
    if (this.#unattended.size > this.#maximumUnattended) oldest?.cancel()
  }

  #attended(flight: Flight<Value>): void {
    clearTimeout(flight.deadline)
    this.#unattended.delete(flight)
  }
}
