/** The codes of the distribution-spec ("Error Codes") and of Docker's registry API, with their usual status. */
const statusByCode = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DENIED: 403,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 404,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  PAGINATION_NUMBER_INVALID: 400,
  SIZE_INVALID: 400,
  TAG_INVALID: 400,
  TOOMANYREQUESTS: 429,
  UNAUTHORIZED: 401,
  UNAVAILABLE: 503,
  UNKNOWN: 500,
  UNSUPPORTED: 405,
} as const

export type RegistryErrorCode = keyof typeof statusByCode

/**
 * An answer that is the client's business: a code of the specification, a status and a sentence that says
 * what, why and what to do. `http/errors.ts` is the only place that turns it into a response.
 */
export class RegistryError extends Error {
  readonly code: RegistryErrorCode
  /** HTTP status. */
  readonly status: number
  readonly detail: unknown
  /** Seconds after which the client may try again, if known (RFC 9110 10.2.3). */
  readonly retryAfterSeconds: number | undefined
  /** The methods that would do, for a 405 (RFC 9110 10.2.1). */
  readonly allow: string | undefined

  constructor(
    code: RegistryErrorCode,
    message: string,
    options: {
      status?: number
      detail?: unknown
      retryAfterSeconds?: number
      allow?: string
      cause?: unknown
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'RegistryError'
    this.code = code
    this.status = options.status ?? statusByCode[code]
    this.detail = options.detail
    this.retryAfterSeconds = options.retryAfterSeconds
    this.allow = options.allow
  }
}
