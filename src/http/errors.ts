import { RegistryError, type RegistryErrorCode, registryErrors } from '../oci/error.ts'
import { StorageError, type StorageErrorCode } from '../storage/error.ts'
import { UpstreamError, type UpstreamErrorCode } from '../upstream/error.ts'
import type { RegistryTarget } from './registry-url.ts'
import type { Subject } from './request-context.ts'

/** An answer in the shape of the specification ("Error Codes"). */
export interface ErrorAnswer {
  readonly code: RegistryErrorCode
  readonly message: string
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

const diskFailed = { status: 500, message: 'the disk of the mirror failed; its log has the details' } as const

/** Pulls are served without the disk where that is possible; what is pushed has to be kept. */
export const storageAnswers = {
  FULL: { status: 507, message: 'the disk of the mirror is full: free some space and try again' },
  BUSY: { status: 503, message: 'the mirror has too much to do at once: try again' },
  READ_ONLY: diskFailed,
  CORRUPT: diskFailed,
  DENIED: {
    status: 500,
    message: 'the mirror may not read its own file: somebody has changed its owner; the log has the details',
  },
  BROKEN: diskFailed,
} as const satisfies Readonly<Record<StorageErrorCode, unknown>>

/**
 * Clients fall through to the next registry on any of these. Absent is told by the code for what was asked for, and a
 * manifest that is none by its own.
 */
export const upstreamAnswers = {
  NOT_FOUND: { code: 'absent', status: 404 },
  UNAUTHORIZED: { code: 'absent', status: 404 },
  FORBIDDEN: { code: 'absent', status: 404 },
  // Not 429: containerd would repeat it five times at once instead of asking the next registry.
  RATE_LIMITED: { code: 'TOOMANYREQUESTS', status: 503 },
  RESERVED: { code: 'TOOMANYREQUESTS', status: 503 },
  CROWDED: { code: 'TOOMANYREQUESTS', status: 503 },
  UNREACHABLE: { code: 'UNAVAILABLE', status: 503 },
  CIRCUIT_OPEN: { code: 'UNAVAILABLE', status: 503 },
  TIMED_OUT: { code: 'UNAVAILABLE', status: 504 },
  SERVER_ERROR: { code: 'UNAVAILABLE', status: 502 },
  INVALID_RESPONSE: { code: 'unreadable', status: 502 },
  REFUSED: { code: 'UNKNOWN', status: 502 },
} as const satisfies Readonly<Record<UpstreamErrorCode, unknown>>

/**
 * The one mapping from errors to HTTP. `kind` is what was asked for: the same upstream failure has another code
 * for a blob than for a manifest; `subject`: what that is called at its upstream. What is unknown becomes a 500 that tells nothing; the caller logs it.
 */
export function answerError(error: unknown, kind: RegistryTarget['kind'], subject?: Subject): ErrorAnswer {
  const known = toRegistryError(error, kind)
  const message = error instanceof UpstreamError ? tellAbout(error, subject) : known.message
  const { code, detail, status, retryAfterSeconds, allow, challenge } = known
  return {
    code,
    message,
    status,
    headers: {
      'content-type': 'application/json; charset=utf-8',
      // A 404 may otherwise be kept by whoever stands between, and what is missing now may be here in a minute.
      'cache-control': 'no-store',
      ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
      ...(allow === undefined ? {} : { allow }),
      ...(challenge === undefined ? {} : { 'www-authenticate': challenge }),
    },
    body: JSON.stringify({ errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] }),
  }
}

/** An upstream's failure with the name of what was asked for, and what to do about one that is not there. */
function tellAbout({ message, isMissing, isOutage }: UpstreamError, subject: Subject | undefined): string {
  if (!subject) return message
  const { repository, reference, note } = subject
  const name = reference ? `${repository}${reference.includes(':') ? '@' : ':'}${reference}` : repository
  const about = `${message} (${name})`
  if (isMissing) return `${about}: look whether its name is right, and the tag or digest`
  return isOutage && note !== undefined ? `${about}: ${note}` : about
}

/** Whether the error is ours to look into, not the client's or the upstream's. */
export function isUnexpected(error: unknown): boolean {
  return !(error instanceof RegistryError || error instanceof UpstreamError || isClientError(error))
}

function toRegistryError(error: unknown, kind: RegistryTarget['kind']): RegistryError {
  if (error instanceof RegistryError) return error
  if (error instanceof UpstreamError) return fromUpstream(error, kind)
  if (isClientError(error)) return fromFramework(error)
  if (error instanceof StorageError) return fromStorage(error)
  return new RegistryError('UNKNOWN', 'an internal error; the log of the mirror has the details')
}

function fromStorage(error: StorageError): RegistryError {
  const { status, message } = storageAnswers[error.code]
  const retry = error.code === 'BUSY' ? { retryAfterSeconds: 1 } : {}
  return new RegistryError('UNAVAILABLE', message, { status, cause: error, ...retry })
}

/** The status of Fastify, where it is one that we send. */
function fromFramework({ message, statusCode }: ClientError): RegistryError {
  const [, ...own] = registryErrors.UNSUPPORTED
  return new RegistryError('UNSUPPORTED', message, {
    status: own.find((status) => status === statusCode) ?? 400,
  })
}

function fromUpstream(error: UpstreamError, kind: RegistryTarget['kind']): RegistryError {
  const { message, retryAfterSeconds } = error
  const { code, status } = upstreamAnswers[error.code]
  return new RegistryError(codeFor(code, kind), message, {
    status,
    cause: error,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  })
}

function codeFor(
  code: (typeof upstreamAnswers)[UpstreamErrorCode]['code'],
  kind: RegistryTarget['kind'],
): RegistryErrorCode {
  if (code === 'unreadable') return kind === 'manifest' ? 'MANIFEST_INVALID' : 'UNKNOWN'
  if (code !== 'absent') return code
  if (kind === 'manifest') return 'MANIFEST_UNKNOWN'
  return kind === 'blob' ? 'BLOB_UNKNOWN' : 'NAME_UNKNOWN'
}

type ClientError = Error & { statusCode: number }

/** What Fastify throws for requests that it does not take, such as a malformed URL. */
function isClientError(error: unknown): error is ClientError {
  if (!(error instanceof Error) || !('statusCode' in error)) return false
  return typeof error.statusCode === 'number' && error.statusCode >= 400 && error.statusCode < 500
}
