/**
 * Runs `work` again and again, `intervalMs` after each end, until disposed. `work` gets a signal that aborts on
 * disposal; its errors go to `onError` and do not end the job. Disposal waits for a running `work`.
 */
export class IntervalJob implements AsyncDisposable {
  readonly #work: (signal: AbortSignal) => Promise<void>
  readonly #onError: (error: unknown) => void
  readonly #intervalMs: number
  readonly #stopped = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> = Promise.resolve()

  constructor(
    work: (signal: AbortSignal) => Promise<void>,
    options: { intervalMs: number; onError: (error: unknown) => void },
  ) {
    this.#work = work
    this.#onError = options.onError
    this.#intervalMs = options.intervalMs
  }

  /** Starts the first run at once. */
  start(): void {
    this.#running = this.#run()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort()
    clearTimeout(this.#timer)
    await this.#running
  }

  async #run(): Promise<void> {
    try {
      await this.#work(this.#stopped.signal)
    } catch (error) {
      if (!this.#stopped.signal.aborted) this.#onError(error)
    }
    if (this.#stopped.signal.aborted) return
    this.#timer = setTimeout(() => this.start(), this.#intervalMs)
    this.#timer.unref()
  }
}
