/**
 * A clock for the age of what is stamped with the time of day, which may jump. By it nothing that was stamped within the
 * last `windowMs` of this process is older than it is: a step forward counts only when it is that old itself. What
 * earlier processes have stamped is as old as the time of day says.
 */
export class AgeClock {
  readonly #windowMs: number
  readonly #wall: () => number
  readonly #monotonic: () => number
  readonly #startedAt: number
  /** The least that the time of day was ahead of the monotonic one, since `#since`, and in the window before. */
  #least = Number.POSITIVE_INFINITY
  #leastBefore = Number.POSITIVE_INFINITY
  #since: number

  constructor(
    windowMs: number,
    {
      wall = Date.now,
      monotonic = () => performance.now(),
    }: { wall?: () => number; monotonic?: () => number } = {},
  ) {
    this.#windowMs = windowMs
    this.#wall = wall
    this.#monotonic = monotonic
    this.#startedAt = monotonic()
    this.#since = this.#startedAt
  }

  /** Milliseconds since it was made. */
  get uptimeMs(): number {
    return this.#monotonic() - this.#startedAt
  }

  /** Milliseconds since the epoch. To be asked now and then, which is when it looks at the time of day. */
  now(): number {
    const monotonic = this.#monotonic()
    if (monotonic - this.#since >= this.#windowMs) {
      this.#leastBefore = this.#least
      this.#least = Number.POSITIVE_INFINITY
      this.#since = monotonic
    }
    this.#least = Math.min(this.#least, this.#wall() - monotonic)
    return Math.floor(monotonic + Math.min(this.#least, this.#leastBefore))
  }
}
