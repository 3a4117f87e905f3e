/**
 * The codes of the distribution-spec ("Error Codes") and of Docker's registry API that are used here, each with the HTTP
 * statuses that it is sent with, the usual one first. docs/errors.md has what they mean.
 */
export const registryErrors = {
  BLOB_UNKNOWN: [404],
  BLOB_UPLOAD_INVALID: [400, 416],
  BLOB_UPLOAD_UNKNOWN: [404],
  DENIED: [403],
  DIGEST_INVALID: [400],
  MANIFEST_BLOB_UNKNOWN: [404],
  MANIFEST_INVALID: [400, 413, 502],
  MANIFEST_UNKNOWN: [404],
  NAME_INVALID: [400],
  NAME_UNKNOWN: [404],
  PAGINATION_NUMBER_INVALID: [400],
  SIZE_INVALID: [400, 413, 416],
  TAG_INVALID: [400],
  TOOMANYREQUESTS: [429, 503],
  UNAUTHORIZED: [401],
  UNAVAILABLE: [503, 500, 502, 504, 507],
  UNKNOWN: [500, 502],
  UNSUPPORTED: [405, 400, 404, 408, 413, 414, 415, 431],
} as const

export type RegistryErrorCode = keyof typeof registryErrors

/** What a code may be sent with. */
export type StatusOf<Code extends RegistryErrorCode> = (typeof registryErrors)[Code][number]

/**
 * An answer that is the client's business: a code of the specification, a status and a sentence that says
 * what, why and what to do. `http/errors.ts` is the only place that turns it into a response.
 */
export class RegistryError<Code extends RegistryErrorCode = RegistryErrorCode> extends Error {
  readonly code: Code
  /** HTTP status. */
  readonly status: StatusOf<Code>
  readonly detail: unknown
  /** Seconds after which the client may try again, if known (RFC 9110 10.2.3). */
  readonly retryAfterSeconds: number | undefined
  /** The methods that would do, for a 405 (RFC 9110 10.2.1). */
  readonly allow: string | undefined
  /** How to log in, for a 401 (RFC 9110 11.6.1). */
  readonly challenge: string | undefined

  constructor(
    code: Code,
    message: string,
    options: {
      status?: StatusOf<Code>
      detail?: unknown
      retryAfterSeconds?: number
      allow?: string
      challenge?: string
      cause?: unknown
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'RegistryError'
    this.code = code
    this.status = options.status ?? registryErrors[code][0]
    this.detail = options.detail
    this.retryAfterSeconds = options.retryAfterSeconds
    this.allow = options.allow
    this.challenge = options.challenge
  }
}

/** A bound of ours is reached (429): whoever is told so may try again in ten seconds, as long as is waited for a place. */
export function tooManyRequests(message: string): RegistryError<'TOOMANYREQUESTS'> {
  return new RegistryError('TOOMANYREQUESTS', message, { retryAfterSeconds: 10 })
}
