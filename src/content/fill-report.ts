import type { Logger } from 'pino'
import { tellSeldom } from '../flow/seldom.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { StorageError } from '../storage/error.ts'
import { nameOf } from '../storage/repository-key.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { Attempt } from './attempt.ts'
import { Contradiction } from './size.ts'
import type { Source } from './source.ts'
import type { Way } from './ways.ts'

const failedLine = 'fetching a blob failed'

/** Logs what an attempt has brought; `ms`: milliseconds since the fill began. */
export function reportFill(logger: Logger, digest: Digest, attempt: Attempt, ms: number): void {
  const way = attempt.blameable.at(-1)
  // All of it was left by an earlier process.
  if (!way) return
  const { name: upstream, repository } = way.source
  const { verifiedSize: size, keptBytes, resumes } = attempt
  const bytes = size - keptBytes
  const bytesPerSecond = Math.round(bytes / Math.max(ms / 1000, 0.001))
  const fields = {
    upstream,
    repository: repository && nameOf(repository),
    digest,
    size,
    bytes,
    keptBytes,
    resumes,
  }
  logger.info({ ...fields, ms: Math.round(ms), bytesPerSecond }, 'fetched a blob')
}

/**
 * Logs that a fill failed for good: quietly where there is no such blob, or not for us, which anybody may ask for. An
 * upstream's failure needs no stack: its message says it all.
 */
export function reportFailure(logger: Logger, digest: Digest, { name }: Source, error: Error): void {
  const isOfUpstream = error instanceof UpstreamError
  const fields = { upstream: name, digest, ...(isOfUpstream ? { reason: error.message } : { err: error }) }
  if (isOfUpstream && error.isRefusal) logger.info(fields, 'there is no such blob to fetch')
  else if (error instanceof StorageError) tellSeldom(logger, 'warn', fields, failedLine)
  else logger.warn(fields, failedLine)
}

/** Logs that bytes were wrong, and that they are fetched once more. */
export function reportWrong(logger: Logger, digest: Digest, way: Way | undefined, error: unknown): void {
  const fields = { upstream: way?.source.name, digest, reason: (error as Error).message }
  logger.warn(fields, 'upstream sent other bytes than expected: once more')
}

/** What readers of bytes hear that are not waited for any more, since a better way has come. */
export function leftFor(better: Way, { blameable }: Attempt): UpstreamError {
  const name = blameable.at(-1)?.source.name ?? better.source.name
  const message = 'it sent bytes that do not match their digest, and there is another way to them now'
  return new UpstreamError('INVALID_RESPONSE', name, message)
}

/** Whether bytes are not what their digest says. */
export function isWrongBytes(error: unknown): boolean {
  return error instanceof RegistryError && (error.code === 'DIGEST_INVALID' || error.code === 'SIZE_INVALID')
}

/** What those who wait hear of a failure. */
export function told(error: unknown): Error {
  if (error instanceof Contradiction)
    return new UpstreamError('INVALID_RESPONSE', error.source.name, error.message, { cause: error })
  return error instanceof Error ? error : new Error(String(error))
}
