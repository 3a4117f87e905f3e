import { exitCodes } from './exit-codes.ts'

export interface SignalOptions {
  /** What hears of signals, and can be ended: the process. */
  readonly source: {
    on(signal: NodeJS.Signals, listener: () => void): unknown
    exit(code: number): unknown
  }
  /** Whether it was started with a terminal, so that SIGHUP says that this is closed. */
  readonly hasTerminal: boolean
  /** Milliseconds in which a signal that comes again is the same one. */
  readonly repeatMs?: number
}

/** npm hands on the Ctrl-C that the terminal has sent to both; people take longer than that to lose patience. */
const defaultRepeatMs = 1000

/**
 * Aborts at SIGTERM, at SIGINT, and when the terminal is closed. One more SIGTERM or SIGINT ends the process at once,
 * unless it is the same one again. SIGHUP without a terminal and SIGUSR1 do nothing: whoever rotates logs sends them,
 * and Node would end by the one and open a port for debuggers by the other.
 */
export function stopOnSignals({
  source,
  hasTerminal,
  repeatMs = defaultRepeatMs,
}: SignalOptions): AbortSignal {
  const stop = new AbortController()
  let countsFrom = Number.POSITIVE_INFINITY
  const begin = (): void => {
    if (stop.signal.aborted) return
    countsFrom = performance.now() + repeatMs
    stop.abort()
  }
  for (const [signal, code] of [
    ['SIGTERM', exitCodes.terminated],
    ['SIGINT', exitCodes.interrupted],
  ] as const) {
    source.on(signal, () => {
      if (performance.now() >= countsFrom) source.exit(code)
      else begin()
    })
  }
  source.on('SIGHUP', () => {
    if (hasTerminal) begin()
  })
  source.on('SIGUSR1', () => {})
  return stop.signal
}
