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

interface Meaning {
  /**
   * answer: it has decided that this is not there, or not for us. outage: it says nothing about the content, and the same
   * question may get another answer later. fault: it, or we, did something wrong.
   */
  readonly is: 'answer' | 'outage' | 'fault'
  /** Whether it was not there at all: two of these in a row open the circuit. */
  readonly isSilence?: true
  /** Whether the same small question is worth asking again within a second. */
  readonly isWorthRepeating?: true
}

/** What each failure means, the one table of it. */
const meanings: Readonly<Record<UpstreamErrorCode, Meaning>> = {
  UNREACHABLE: { is: 'outage', isSilence: true, isWorthRepeating: true },
  TIMED_OUT: { is: 'outage', isSilence: true },
  CIRCUIT_OPEN: { is: 'outage' },
  RATE_LIMITED: { is: 'outage' },
  SERVER_ERROR: { is: 'outage', isWorthRepeating: true },
  UNAUTHORIZED: { is: 'answer' },
  FORBIDDEN: { is: 'answer' },
  NOT_FOUND: { is: 'answer' },
  INVALID_RESPONSE: { is: 'fault' },
  REFUSED: { is: 'fault' },
}

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
    return meanings[this.code].is === 'answer'
  }

  /** Whether it says nothing about the content: the same question may get an answer later. */
  get isOutage(): boolean {
    return meanings[this.code].is === 'outage'
  }

  /** Whether the registry itself was not there. What happens at the storage it redirects to says nothing about it. */
  get opensCircuit(): boolean {
    return meanings[this.code].isSilence === true && !this.isElsewhere
  }

  /** Whether the same small question may have better luck a moment later. */
  get isWorthRepeating(): boolean {
    return meanings[this.code].isWorthRepeating === true
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

const withoutLogin = 'it lets nobody read this without a login: it is private, or there is no such thing'

/** The failure that a status other than 2xx is. A 429 has its own rules. */
export function failureOfStatus(upstream: string, status: number): UpstreamError {
  const failure = (code: UpstreamErrorCode, message: string) =>
    new UpstreamError(code, upstream, message, { status })
  if (status === 401) return failure('UNAUTHORIZED', withoutLogin)
  if (status === 403) return failure('FORBIDDEN', 'it refuses to let us read this')
  if (status === 404) return failure('NOT_FOUND', 'it does not have this')
  if (status >= 500) return failure('SERVER_ERROR', `it answered ${status}`)
  return failure('INVALID_RESPONSE', `it answered ${status}`)
}

/** What is thrown while an upstream has told us to wait, and for its 429 itself. */
export function rateLimited(upstream: string, retryAfterSeconds: number): UpstreamError {
  const message = `its limit of requests is used up, for ${retryAfterSeconds} s at least`
  return new UpstreamError('RATE_LIMITED', upstream, message, { status: 429, retryAfterSeconds })
}

/** The message without the upstream's name in front, which the sentence around it has. */
export function reasonOf(error: unknown, upstream: string): string {
  return (error instanceof Error ? error.message : String(error)).replace(`${upstream}: `, '')
}
