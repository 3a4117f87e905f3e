export interface UploadUseOptions {
  /** For whom a bound by client counts it; undefined: for whoever goes on with it first. */
  readonly client?: string | undefined
  /** Milliseconds of a clock that does not jump. */
  readonly now?: (() => number) | undefined
  /** What an earlier process left: milliseconds since the epoch of what came last. */
  readonly foundAt?: number | undefined
}

/** Whose an upload is where uploads are counted, and since when nobody goes on with it. */
export class UploadUse {
  readonly #now: () => number
  #usedAt: number
  #foundAt: number | undefined
  #client: string | undefined
  #requests = 0

  constructor({ client, foundAt, now = () => performance.now() }: UploadUseOptions) {
    this.#client = client
    this.#foundAt = foundAt
    this.#now = now
    this.#usedAt = now()
  }

  /** "" while nobody has gone on with what an earlier process left. */
  get client(): string {
    return this.#client ?? ''
  }

  /** Milliseconds since the last request, or since it was found; undefined while one is at work, or waits for its turn. */
  get idleMs(): number | undefined {
    return this.#requests === 0 ? this.#now() - this.#usedAt : undefined
  }

  /** Milliseconds since the epoch of what came last in an earlier process; undefined once somebody went on in this one. */
  get foundAt(): number | undefined {
    return this.#foundAt
  }

  /** A request is there, until this is disposed. */
  begin(client?: string): Disposable {
    this.#client ??= client
    this.#foundAt = undefined
    this.#requests += 1
    return {
      [Symbol.dispose]: () => {
        this.#requests -= 1
        this.#usedAt = this.#now()
      },
    }
  }
}
