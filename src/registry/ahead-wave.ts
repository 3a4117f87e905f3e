export interface AheadWaveOptions {
  /** For whose sake it is fetched. */
  readonly client: string
  /** Milliseconds without anybody who comes for any of it. */
  readonly patienceMs: number
  /** It is over; `isVain`: something was begun, and nobody ever came for any of it. */
  readonly onOver: (isVain: boolean) => void
}

/** What is fetched ahead since one client has asked for one manifest. It is over when nobody has come for a while. */
export class AheadWave implements Disposable {
  readonly client: string
  readonly #options: AheadWaveOptions
  readonly #over = new AbortController()
  #timer: NodeJS.Timeout
  #hasCome = false
  #hasBegun = false

  constructor(options: AheadWaveOptions) {
    this.client = options.client
    this.#options = options
    this.#timer = this.#wait()
  }

  /** Aborts when it is over: what has not begun is dropped. */
  get signal(): AbortSignal {
    return this.#over.signal
  }

  /** There is something to fetch. */
  begun(): void {
    this.#hasBegun = true
  }

  /** Somebody has come for a part of it: the rest is wanted, too. */
  came(): void {
    this.#hasCome = true
    if (this.signal.aborted) return
    clearTimeout(this.#timer)
    this.#timer = this.#wait()
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    this.#over.abort(new Error('the mirror is stopping'))
  }

  #wait(): NodeJS.Timeout {
    const { patienceMs, onOver } = this.#options
    const end = (): void => {
      this.#over.abort(new Error('nobody came for what was fetched ahead'))
      onOver(this.#hasBegun && !this.#hasCome)
    }
    return setTimeout(end, patienceMs).unref()
  }
}
