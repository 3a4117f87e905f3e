/** What a registry told of its quota: Docker Hub sends it with every answer about a manifest. */
export interface RateLimit {
  /** Requests allowed in each window. */
  readonly limit: number | undefined
  readonly remaining: number | undefined
  readonly windowSeconds: number | undefined
}

const retryAfter = { default: 60, maximum: 3600 }
/** `Date.parse` takes much that is no date, such as "-5". */
const httpDate = /^[A-Z][a-z]{2,8}, .{1,30} GMT$/

/** Parses `ratelimit-limit: 100;w=21600` and `ratelimit-remaining`; undefined where neither is there. */
export function parseRateLimit(headers: Readonly<Record<string, unknown>>): RateLimit | undefined {
  const limit = parseQuota(headers['ratelimit-limit'])
  const remaining = parseQuota(headers['ratelimit-remaining'])
  if (!limit && !remaining) return undefined
  return {
    limit: limit?.amount,
    remaining: remaining?.amount,
    windowSeconds: limit?.windowSeconds ?? remaining?.windowSeconds,
  }
}

/** Whether less than half of a quota is left, as far as is known. */
export function isScarce({ limit, remaining }: Partial<RateLimit> = {}): boolean {
  return limit !== undefined && remaining !== undefined && remaining * 2 < limit
}

/**
 * Seconds to wait by `Retry-After` (RFC 9110 10.2.3: seconds or a date), at least 1 and at most an hour,
 * whatever the header says; undefined where it says nothing that can be understood.
 */
export function toldRetryAfter(header: unknown, now: number = Date.now()): number | undefined {
  const text = typeof header === 'string' ? header.trim() : ''
  const date = httpDate.test(text) ? Date.parse(text) : Number.NaN
  const seconds = /^\d{1,30}$/.test(text) ? Number(text) : (date - now) / 1000
  return Number.isNaN(seconds) ? undefined : Math.min(Math.max(Math.ceil(seconds), 1), retryAfter.maximum)
}

/** The same; a minute where it says nothing. */
export function parseRetryAfter(header: unknown, now?: number): number {
  return toldRetryAfter(header, now) ?? retryAfter.default
}

function parseQuota(header: unknown): { amount: number; windowSeconds: number | undefined } | undefined {
  const match = typeof header === 'string' ? /^(\d{1,12})(?:;w=(\d{1,9}))?$/.exec(header.trim()) : null
  if (!match) return undefined
  return { amount: Number(match[1]), windowSeconds: match[2] === undefined ? undefined : Number(match[2]) }
}
