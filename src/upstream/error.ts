/** What can go wrong with an upstream. `http/errors.ts` maps each to what a client is told. */
export type UpstreamErrorCode =
  /** No connection: refused, reset, no address, a bad certificate. */
  | 'UNREACHABLE'
  /** Connected or connecting, but nothing came in time. */
  | 'TIMED_OUT'
  /** Not asked: it was unreachable a moment ago (circuit breaker). */
  | 'CIRCUIT_OPEN'
  | 'RATE_LIMITED'
  /** 401 although a token was sent, or the token was refused. */
  | 'UNAUTHORIZED'
  | 'FORBIDDEN'
  | 'NOT_FOUND'
  /** 5xx. */
  | 'SERVER_ERROR'
  /** An answer that breaks the protocol, or does not match its digest. */
  | 'INVALID_RESPONSE'
  /** We refuse to go where it sends us: a foreign realm, a downgrade, a private address, a loop. */
  | 'REFUSED'

const outages: ReadonlySet<UpstreamErrorCode> = new Set([
  'UNREACHABLE',
  'TIMED_OUT',
  'CIRCUIT_OPEN',
  'RATE_LIMITED',
  'SERVER_ERROR',
])

const refusals: ReadonlySet<UpstreamErrorCode> = new Set(['NOT_FOUND', 'UNAUTHORIZED', 'FORBIDDEN'])

/** A failure on the upstream's side of the house, with the upstream's name. */
export class UpstreamError extends Error {
  readonly code: UpstreamErrorCode
  /** The upstream's name, such as docker.io. */
  readonly upstream: string
  /** The HTTP status that it answered with, if it answered. */
  readonly status: number | undefined
  /** Seconds until it is worth asking again, if known. */
  readonly retryAfterSeconds: number | undefined
  /** Whether it was another host that failed: storage that the registry redirects to. */
  readonly isElsewhere: boolean

  constructor(
    code: UpstreamErrorCode,
    upstream: string,
    message: string,
    options: {
      status?: number
      retryAfterSeconds?: number | undefined
      cause?: unknown
      isElsewhere?: boolean
    } = {},
  ) {
    super(`${upstream}: ${message}`, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'UpstreamError'
    this.code = code
    this.upstream = upstream
    this.status = options.status
    this.retryAfterSeconds = options.retryAfterSeconds
    this.isElsewhere = options.isElsewhere ?? false
  }

  /** Whether the upstream has decided: it is not there, or not for us. */
  get isRefusal(): boolean {
    return refusals.has(this.code)
  }

  /** Whether it says nothing about the content: the same question may get an answer later. */
  get isOutage(): boolean {
    return outages.has(this.code)
  }
}

/** The same failure, of another host than the registry's own: of one that it redirects to. */
export function elsewhere(error: UpstreamError, { host }: URL): UpstreamError {
  const { code, upstream, status, retryAfterSeconds } = error
  const message = `${host}, to which it redirects: ${error.message.slice(upstream.length + 2)}`
  return new UpstreamError(code, upstream, message, {
    cause: error,
    isElsewhere: true,
    retryAfterSeconds,
    ...(status === undefined ? {} : { status }),
  })
}
