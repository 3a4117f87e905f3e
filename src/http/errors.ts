import { RegistryError, type RegistryErrorCode } from '../oci/error.ts'
import { StorageError } from '../storage/error.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { RegistryTarget } from './registry-url.ts'

/** An answer in the shape of the specification ("Error Codes"). */
export interface ErrorAnswer {
  readonly code: RegistryErrorCode
  readonly message: string
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/**
 * The one mapping from errors to HTTP. `kind` is what was asked for: the same upstream failure has another code
 * for a blob than for a manifest. What is unknown becomes a 500 that tells nothing; the caller logs it.
 */
export function answerError(error: unknown, kind: RegistryTarget['kind']): ErrorAnswer {
  const known = toRegistryError(error, kind)
  const { code, message, detail, status, retryAfterSeconds, allow } = known
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
    },
    body: JSON.stringify({ errors: [{ code, message, ...(detail === undefined ? {} : { detail }) }] }),
  }
}

/** Whether the error is ours to look into, not the client's or the upstream's. */
export function isUnexpected(error: unknown): boolean {
  return !(error instanceof RegistryError || error instanceof UpstreamError || isClientError(error))
}

function toRegistryError(error: unknown, kind: RegistryTarget['kind']): RegistryError {
  if (error instanceof RegistryError) return error
  if (error instanceof UpstreamError) return fromUpstream(error, kind)
  if (isClientError(error))
    return new RegistryError('UNSUPPORTED', error.message, { status: error.statusCode })
  if (error instanceof StorageError) return fromStorage(error)
  return new RegistryError('UNKNOWN', 'an internal error; the log of the mirror has the details')
}

/** Pulls are served without the disk where that is possible; what is pushed has to be kept. */
function fromStorage(error: StorageError): RegistryError {
  const answer = (status: number, message: string) =>
    new RegistryError('UNAVAILABLE', message, { status, cause: error })
  switch (error.code) {
    case 'FULL':
      return answer(507, 'the disk of the mirror is full: free some space and try again')
    case 'BUSY':
      return answer(503, 'the mirror has too much to do at once: try again')
    case 'READ_ONLY':
    case 'CORRUPT':
    case 'BROKEN':
      return answer(500, 'the disk of the mirror failed; its log has the details')
  }
}

/** Clients fall through to the next registry on any of these; docs: protocol of the clients, "upstream fails". */
function fromUpstream(error: UpstreamError, kind: RegistryTarget['kind']): RegistryError {
  const answer = (code: RegistryErrorCode, status: number): RegistryError =>
    new RegistryError(code, error.message, {
      status,
      cause: error,
      ...(error.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: error.retryAfterSeconds }),
    })
  switch (error.code) {
    case 'NOT_FOUND':
    case 'UNAUTHORIZED':
    case 'FORBIDDEN':
      return answer(unknownCode(kind), 404)
    case 'RATE_LIMITED':
      // Not 429: containerd would repeat it five times at once instead of asking the next registry.
      return answer('TOOMANYREQUESTS', 503)
    case 'UNREACHABLE':
    case 'CIRCUIT_OPEN':
      return answer('UNAVAILABLE', 503)
    case 'TIMED_OUT':
      return answer('UNAVAILABLE', 504)
    case 'SERVER_ERROR':
      return answer('UNAVAILABLE', 502)
    case 'INVALID_RESPONSE':
      return answer(kind === 'manifest' ? 'MANIFEST_INVALID' : 'UNKNOWN', 502)
    case 'REFUSED':
      return answer('UNKNOWN', 502)
  }
}

function unknownCode(kind: RegistryTarget['kind']): RegistryErrorCode {
  if (kind === 'manifest') return 'MANIFEST_UNKNOWN'
  return kind === 'blob' ? 'BLOB_UNKNOWN' : 'NAME_UNKNOWN'
}

/** What Fastify throws for requests that it does not take, such as a malformed URL. */
function isClientError(error: unknown): error is Error & { statusCode: number } {
  if (!(error instanceof Error) || !('statusCode' in error)) return false
  return typeof error.statusCode === 'number' && error.statusCode >= 400 && error.statusCode < 500
}
