export interface BackoffOptions {
  /** Milliseconds that the first wait has at most. */
  readonly firstMs: number
  /** Milliseconds that any wait has at most. */
  readonly capMs: number
  /** At least 0, less than 1. */
  readonly random?: (() => number) | undefined
}

/** Doublings after which every bound is passed; more of them would leave the numbers. */
const maximumDoublings = 50

/**
 * Milliseconds to wait before another try after so many failures in a row (1: after the first one; none: no wait):
 * `firstMs`, doubled each time, up to `capMs`, of which between a half and the whole is drawn ("equal jitter"), so that those who
 * failed together do not come back together, and nobody comes back at once.
 */
export function backoffMs(
  failures: number,
  { firstMs, capMs, random = Math.random }: BackoffOptions,
): number {
  if (!(failures >= 1)) return 0
  const most = Math.min(firstMs * 2 ** Math.min(Math.floor(failures) - 1, maximumDoublings), capMs)
  return most / 2 + (most / 2) * random()
}
