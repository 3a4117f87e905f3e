import { UpstreamError } from './error.ts'
import type { RateLimit } from './rate-limit.ts'

/** What a 429 of an upstream was about: its pull limit, or all that it is asked. */
type LimitKind = 'pulls' | 'all'

/** A 429, as it was understood. */
export interface ToldLimit {
  readonly kind: LimitKind
  /** Whether it said itself for how long. */
  readonly isTold: boolean
  readonly quota: RateLimit | undefined
  /** When it came, in milliseconds since the epoch. */
  readonly at: number
}

/** The longest window of which it is told when it ends; whoever says more is not believed. */
const longestWindowSeconds = 7 * 86_400

/**
 * The failure that a limit is for whoever is not asked because of it, for so many milliseconds more: when the quota
 * returns, in words and as a time. Without any, the upstream is just being asked whether it is over.
 */
export function limitError(upstream: string, limit: ToldLimit, leftMs: number): UpstreamError {
  const retryAfterSeconds = Math.max(1, Math.ceil(leftMs / 1000))
  const message = `${whatOf(limit)}: ${whenOf(limit, leftMs)}`
  return new UpstreamError('RATE_LIMITED', upstream, message, { status: 429, retryAfterSeconds })
}

function whatOf({ kind, quota }: ToldLimit): string {
  if (kind === 'all') return 'it refuses all that we ask for a while, since it was too much (429)'
  const { limit, windowSeconds } = quota ?? {}
  const pulls =
    limit === undefined ? '' : ` (${limit} pulls${windowSeconds ? ` in ${inWords(windowSeconds)}` : ''})`
  return `its pull limit is used up${pulls}`
}

function whenOf({ kind, isTold, quota, at }: ToldLimit, leftMs: number): string {
  const now = Date.now()
  if (leftMs <= 0) return 'it is being asked whether that is over, so ask again in a moment'
  const next = `${inWords(leftMs / 1000)}, at ${clockTime(now + leftMs, now)}`
  if (kind === 'all') return `nothing is asked of it for ${next}`
  if (isTold) return `it gives the next one in ${next}, as it says`
  const { windowSeconds } = quota ?? {}
  const asked = `it is asked again in ${next}`
  if (!windowSeconds || windowSeconds > longestWindowSeconds) return asked
  return `the pulls come back by ${clockTime(at + windowSeconds * 1000, now)} at the latest, and ${asked}`
}

/** Such as `45 s`, `10 min` or `6 h`. */
export function inWords(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`
  return seconds < 90 * 60 ? `${Math.ceil(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}

/** Such as `18:24 UTC`, with the date where it is not today's. */
function clockTime(ms: number, now: number): string {
  const [date, time = ''] = new Date(ms).toISOString().split('T')
  const [today] = new Date(now).toISOString().split('T')
  return `${date === today ? '' : `${date} `}${time.slice(0, 5)} UTC`
}
