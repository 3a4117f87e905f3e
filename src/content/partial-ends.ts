import type { Logger } from 'pino'
import { tellSeldom } from '../flow/seldom.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { Partial } from '../storage/partial.ts'

/**
 * Ends the partial of an attempt: wrong bytes go, and a disk that failed is not trusted with any; what an upstream
 * failed at goes on later. Never throws.
 */
export async function closePartial(
  partial: Partial | undefined,
  { logger, digest }: { readonly logger: Logger; readonly digest: Digest },
  { keeps, reason }: { readonly keeps: boolean; readonly reason: Error },
): Promise<void> {
  try {
    if (keeps) await partial?.suspend(reason)
    else await partial?.discard(reason)
  } catch (error) {
    tellSeldom(logger, 'warn', { digest, err: error }, 'a partial could not be closed')
  }
}

/** Whether a partial has all bytes of a digest, and no others. Throws StorageError. */
export async function isWhole(partial: Partial, digest: Digest): Promise<boolean> {
  try {
    await partial.verify(digest)
    return true
  } catch (error) {
    if (error instanceof RegistryError) return false
    throw error
  }
}
