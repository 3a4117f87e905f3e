import type { Digest } from '../oci/digest.ts'
import type { BlobReader } from './blob-reader.ts'
import type { ReadonlyRanges } from './ranges.ts'

/**
 * A file that is not whole yet: a fill from upstream, or a push. It has holes while ranges arrive; the present
 * ranges are journalled, so that a later process goes on where this one was (docs/decisions/0002). Its owner
 * ends it exactly once, by `seal`, `suspend` or `discard`; disposing suspends what nobody ended.
 */
export interface Partial extends AsyncDisposable {
  readonly id: string
  /** Bytes; known for a fill, unknown for a push until it is sealed. */
  readonly size: number | undefined
  readonly present: ReadonlyRanges
  /**
   * Writes bytes at a position, in any order. Bytes that are present already are left alone: the first writer
   * wins. They are kept by reference for those who follow, so they must not be changed afterwards. Resolves when
   * readers can have them. Rejects with the file system's error (ENOSPC, EIO, ...).
   */
  write(position: number, bytes: Uint8Array): Promise<void>
  /** A reader that follows the bytes as they arrive; undefined where the size is unknown, or it has ended. */
  reader(): BlobReader | undefined
  /**
   * Verifies and publishes the bytes under `expected`: fdatasync, rename into the blob store, fsync of the
   * folder. Readers are told as soon as the digest is known to match. Throws RegistryError DIGEST_INVALID where
   * it does not, or SIZE_INVALID where bytes are missing; the file is then gone.
   */
  seal(expected: Digest): Promise<void>
  /** Ends it; readers that still wait reject with `reason`. The bytes stay for a later `openPartial`. */
  suspend(reason: Error): Promise<void>
  /** Ends it and removes the bytes; readers that still wait reject with `reason`. */
  discard(reason: Error): Promise<void>
}
