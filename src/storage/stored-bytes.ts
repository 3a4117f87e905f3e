import type { Digest } from '../oci/digest.ts'
import type { PageOf } from './page-of.ts'
import type { SealedFile } from './partial.ts'

/** The bytes of a blob that are here; the record dies with them. */
export interface BlobRow extends SealedFile {
  /** Milliseconds since the epoch. */
  readonly usedAt: number
  /** Milliseconds since the epoch at which the bytes were last compared with their digest; 0: never. */
  readonly verifiedAt: number
  /** Some repository holds it because it was pushed, mounted or pinned: it is never evicted. */
  readonly kept: boolean
}

/** So many blobs, and what they take. */
export interface StoredTotal {
  readonly blobs: number
  readonly bytes: number
}

/** All bytes that are here. */
export interface Usage {
  /** What may be evicted. */
  readonly cached: StoredTotal
  /** What was pushed, mounted or pinned. */
  readonly kept: StoredTotal
}

/** Where there is nothing. */
export const nothingStored: Usage = { cached: { blobs: 0, bytes: 0 }, kept: { blobs: 0, bytes: 0 } }

/** A blob that nobody keeps. */
export interface CachedBlob {
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
  /** Milliseconds since the epoch. */
  readonly usedAt: number
  /** Milliseconds since the epoch: when its file was last written to. */
  readonly fetchedAt: number
}

/** What the catalog tells of the bytes that are here. */
export interface StoredBytesReads {
  /** The bytes that are here under a digest. */
  blob(digest: Digest): Promise<BlobRow | undefined>
  /** All bytes that are here, by digest. */
  blobs(page: PageOf<Digest>): Promise<(BlobRow & { readonly digest: Digest })[]>
  /** How much that is. Counted as they come and go: what a verb changed is in it when that one has resolved. */
  usage(): Promise<Usage>
  /** Bytes that may go and are not known to have gone: a kill may have come between. By digest. */
  removals(page: PageOf<Digest>): Promise<Digest[]>
  /** What may be evicted: blobs that nobody keeps, last used before this, the longest ago first. */
  leastRecent(
    page: PageOf<Pick<CachedBlob, 'digest' | 'usedAt'>> & { readonly before?: number | undefined },
  ): Promise<CachedBlob[]>
  /** Blobs last verified before this, the longest ago first. */
  unverified(before: number, limit: number): Promise<Digest[]>
}

/** How bytes come to be known, and to be known no more. */
export interface StoredBytesVerbs {
  /** The bytes of a digest are here, just verified. */
  sealed(digest: Digest, file: SealedFile, at: number): Promise<void>
  /** The bytes that are here were compared with their digest. */
  verified(digest: Digest, file: SealedFile, at: number): Promise<void>
  /**
   * A file was found under a digest: recorded as last used when it was written to, and never verified. False, and
   * nothing recorded, where it is known already, or may go.
   */
  adopt(digest: Digest, file: SealedFile, at: number): Promise<boolean>
  /** The bytes that are here were used. */
  used(digests: readonly Digest[], at: number): Promise<void>
  /** The bytes are not here any more. */
  gone(digest: Digest): Promise<void>
  /** Removes the record of bytes that nobody keeps if they were last used before this: true, and they may go. */
  evict(digest: Digest, usedBefore: number): Promise<boolean>
  /** Whether bytes that might go once may still: they have no record, and nobody keeps them. */
  mayGo(digest: Digest): Promise<boolean>
  /** Bytes have gone, or stay for somebody after all: they are among `removals` no more. */
  removed(digests: readonly Digest[]): Promise<void>
}
