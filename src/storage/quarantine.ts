import type { Digest } from '../oci/digest.ts'
import type { StoredTotal } from './blob-store.ts'
import type { SealedFile } from './partial.ts'

/** A file that does not have the bytes of its digest. */
export interface QuarantinedBlob {
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
  /** Milliseconds since the epoch at which it was put there. */
  readonly at: number
}

/**
 * What was found damaged: out of the way, and served to nobody. It goes when its blob is stored whole or removed, and
 * before that where somebody removes it.
 */
export interface Quarantine {
  readonly total: StoredTotal
  /** The oldest first. */
  list(): readonly QuarantinedBlob[]
  /** Takes what is stored under a digest, in place of what it had of it, and returns its bytes; 0 where nothing is. */
  put(digest: Digest): Promise<number>
  /** Whether what it has of a digest are its bytes after all. Rejects when `signal` aborts. */
  isWhole(digest: Digest, signal?: AbortSignal): Promise<boolean>
  /** Stores what it has of a digest again; undefined where that is nothing. */
  restore(digest: Digest): Promise<SealedFile | undefined>
  /** Removes what it has of a digest and returns the bytes that are free; 0 where that is nothing. */
  remove(digest: Digest): Promise<number>
}
