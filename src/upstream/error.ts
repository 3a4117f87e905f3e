interface Meaning {
  /**
   * missing, withheld: it has decided that this is not there, or not for us. outage: it says nothing about the content,
   * and the same question may get another answer later. fault: it, or we, did something wrong.
   */
  readonly is: 'missing' | 'withheld' | 'outage' | 'fault'
  /**
   * What may have better luck a moment later, each with what follows it: a small question, in a moment; the bytes of a blob,
   * after a pause; the rest of a blob of which some bytes came; nothing.
   */
  readonly retry: 'question' | 'blob' | 'rest' | 'nothing'
  /** Whether it was not there at all: two of these in a row open the circuit. */
  readonly isSilence?: true
  /** Whether it may be about the method: where HEAD got this, GET decides. */
  readonly isOdd?: true
  /** Whether it is not about the upstream, so that the message does not begin with its name. */
  readonly isOurs?: true
}

/** What can go wrong with an upstream, and what each failure means: the one table of it (docs/errors.md). */
export const upstreamFailures = {
  /** No connection: refused, reset, no address, a bad certificate. */
  UNREACHABLE: { is: 'outage', retry: 'question', isSilence: true },
  /** Connected or connecting, but nothing came in time. */
  TIMED_OUT: { is: 'outage', retry: 'blob', isSilence: true },
  /** Not asked: it was unreachable a moment ago (circuit breaker). */
  CIRCUIT_OPEN: { is: 'outage', retry: 'rest' },
  RATE_LIMITED: { is: 'outage', retry: 'rest' },
  /** Not asked: the last pulls of its quota are for people, and this is for nobody. */
  RESERVED: { is: 'outage', retry: 'rest' },
  /** Our own side: not asked, or given up, since so many others ask. */
  CROWDED: { is: 'outage', retry: 'rest', isOurs: true },
  /** 5xx, but for 501. */
  SERVER_ERROR: { is: 'outage', retry: 'question', isOdd: true },
  /** 401 although a token was sent, or the token was refused. */
  UNAUTHORIZED: { is: 'withheld', retry: 'rest' },
  FORBIDDEN: { is: 'withheld', retry: 'rest' },
  NOT_FOUND: { is: 'missing', retry: 'rest' },
  /** An answer that breaks the protocol, that knows nothing of the question, or does not match its digest. */
  INVALID_RESPONSE: { is: 'fault', retry: 'rest', isOdd: true },
  /** We refuse to go where it sends us: a foreign realm, a downgrade, a private address, a loop. */
  REFUSED: { is: 'fault', retry: 'nothing', isOdd: true },
} as const satisfies Readonly<Record<string, Meaning>>

export type UpstreamErrorCode = keyof typeof upstreamFailures

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
    const { isOurs }: Meaning = upstreamFailures[code]
    super(
      isOurs ? message : `${upstream}: ${message}`,
      options.cause === undefined ? undefined : { cause: options.cause },
    )
    this.name = 'UpstreamError'
    this.code = code
    this.upstream = upstream
    this.status = options.status
    this.retryAfterSeconds = options.retryAfterSeconds
    this.isElsewhere = options.isElsewhere ?? false
  }

  /** Whether the upstream has decided: it is not there, or not for us. */
  get isRefusal(): boolean {
    return this.isMissing || this.isWithheld
  }

  /** Whether it has decided that there is no such thing, for anybody as far as it tells. */
  get isMissing(): boolean {
    return this.#meaning.is === 'missing'
  }

  /** Whether it has decided that it is not for us. */
  get isWithheld(): boolean {
    return this.#meaning.is === 'withheld'
  }

  /** Whether it says nothing about the content: the same question may get an answer later. */
  get isOutage(): boolean {
    return this.#meaning.is === 'outage'
  }

  /** Whether the method may be what it does not like: what HEAD was told so is to be asked for by GET. */
  get isOdd(): boolean {
    return this.#meaning.isOdd === true
  }

  /** Whether the registry itself was not there. What happens at the storage it redirects to says nothing about it. */
  get opensCircuit(): boolean {
    return this.#meaning.isSilence === true && !this.isElsewhere
  }

  /** Whether the same small question may have better luck a moment later. */
  get isWorthRepeating(): boolean {
    return this.#meaning.retry === 'question'
  }

  /** Whether there is nothing more to be had of a blob here, of which some bytes have come before or none. */
  isFinal(hasGiven: boolean): boolean {
    const { retry } = this.#meaning
    return retry === 'nothing' || (retry === 'rest' && !hasGiven)
  }

  get #meaning(): Meaning {
    return upstreamFailures[this.code]
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

/** The failure that a status other than 2xx is; what is out of order may want so much time. A 429 has its own rules. */
export function failureOfStatus(upstream: string, status: number, retryAfterSeconds?: number): UpstreamError {
  const failure = (code: UpstreamErrorCode, message: string) =>
    new UpstreamError(code, upstream, message, {
      status,
      ...(code === 'SERVER_ERROR' ? { retryAfterSeconds } : {}),
    })
  if (status === 401) return failure('UNAUTHORIZED', withoutLogin)
  if (status === 403) return failure('FORBIDDEN', 'it refuses to let us read this')
  if (status === 404) return failure('NOT_FOUND', 'it does not have this')
  // A server that does not know the question is none that is out of order.
  if (status >= 500 && status !== 501) return failure('SERVER_ERROR', `it answered ${status}`)
  return failure('INVALID_RESPONSE', `it answered ${status}`)
}

/** What is thrown while an upstream has told us to wait, and for its 429 itself. */
export function rateLimited(upstream: string, retryAfterSeconds: number): UpstreamError {
  const message = `its limit of requests is used up, for ${retryAfterSeconds} s at least`
  return new UpstreamError('RATE_LIMITED', upstream, message, { status: 429, retryAfterSeconds })
}

/** What is thrown where the last pulls are left to people; `left` of them, and `reserve` are. */
export function reservedForPeople(
  upstream: string,
  { left, reserve, retryAfterSeconds }: { left: number; reserve: number; retryAfterSeconds: number },
): UpstreamError {
  const message = `not asked, since ${left} of its pulls are left, and the last ${reserve} are for people (limits.reserve)`
  return new UpstreamError('RESERVED', upstream, message, { retryAfterSeconds })
}

/** The message without the upstream's name in front, which the sentence around it has. */
export function reasonOf(error: unknown, upstream: string): string {
  return (error instanceof Error ? error.message : String(error)).replace(`${upstream}: `, '')
}
