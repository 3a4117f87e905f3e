import type { Digest, DigestAlgorithm } from '../oci/digest.ts'
import type { BlobReader } from './blob-reader.ts'
import type { BlobWriters } from './blob-writer.ts'
import type { Partial, SealedFile } from './partial.ts'
import type { Quarantine } from './quarantine.ts'

/** How much is stored. */
export interface StoredTotal {
  readonly bytes: number
  readonly blobs: number
}

/** What a disk can take. */
export interface DiskRoom {
  /** That are free, less a reserve for the catalog. */
  readonly bytes: number
  /** Files that can be made, of so many; 0 of 0 where the file system has no bound. */
  readonly files: { readonly free: number; readonly total: number }
}

/** What a file says of itself at a moment. */
export interface FileLook extends SealedFile {
  /** Another one once somebody has written to the file, touched it, or taken its name away. */
  readonly trace: string
}

/** A reader of a stored blob, with what its file said when it was opened. */
export interface StoredBlob extends BlobReader {
  readonly file: SealedFile
  /** The same, more exactly. */
  readonly opened: FileLook
  /** What the open file says now, which costs next to nothing. Throws StorageError. */
  look(): FileLook
}

/** What the bytes of a stored blob are. */
export interface CheckedBlob {
  /** As it was when they were read. */
  readonly file: SealedFile
  /** Of all of them; undefined where they cannot be read. */
  readonly actual: Digest | undefined
}

/**
 * Content by its digest. Only what was verified is ever visible. What fails at the disk is a StorageError, from
 * every method and from all that they give. Every implementation passes `test/storage/blob-store.contract.ts`.
 */
export interface BlobStore extends AsyncDisposable {
  /** What is stored in all, as far as it was counted since the start. */
  readonly stored: StoredTotal
  readonly partials: Partials
  readonly writers: BlobWriters
  readonly quarantine: Quarantine
  /** What is recorded of a stored blob's file; undefined where it is not stored. */
  stat(digest: Digest): Promise<SealedFile | undefined>
  /** A reader of a stored blob, to be closed by the caller; undefined where it is not stored. */
  open(digest: Digest): Promise<StoredBlob | undefined>
  /**
   * Reads all bytes of a stored blob from its disk, one blob at a time (two of what is served), out of the way of whoever reads others; undefined
   * where it is not stored. Rejects when `signal` aborts.
   */
  check(digest: Digest, options?: CheckOptions): Promise<CheckedBlob | undefined>
  /**
   * Removes a blob, with what is quarantined of it, and returns the bytes that are free; 0 where it is not stored. Open
   * readers keep their bytes.
   */
  delete(digest: Digest): Promise<number>
  /** At most `limit` digests of what is stored, in ASCII order, those behind `after`; not of what its disk does not list. */
  list(options: { after?: Digest | undefined; limit: number }): Promise<Digest[]>
  /** What may still be written. */
  room(): Promise<DiskRoom>
  /** Rejects where the store cannot be written to. */
  probe(): Promise<void>
}

export interface CheckOptions {
  /** Nobody waits for the result: a slow disk is left to others half of the time. */
  readonly isGentle?: boolean
  /** Somebody reads it at the same time, and waits for the result: what the page cache has is what that one gets. */
  readonly isServed?: boolean
  readonly signal?: AbortSignal | undefined
}

/** What is on its way into a store, and what earlier processes left. */
export interface Partials {
  /** What an earlier attempt left under `id`, open or not; undefined where there is nothing. */
  find(id: string): Promise<FoundPartial | undefined>
  /** Opens what an earlier attempt left, else a new one. Throws Error where it is open already, TypeError for a bad id. */
  open(options: PartialOptions): Promise<Partial>
  /** All that there are, by id. */
  list(): Promise<FoundPartial[]>
  /** Removes what an earlier attempt left. No error where there is nothing. Throws Error where it is open. */
  remove(id: string): Promise<void>
}

export interface PartialOptions {
  /** Letters, digits and "-"; for a fill derived from the digest, so that a later process finds it. */
  readonly id: string
  readonly algorithm: DigestAlgorithm
}

export interface FoundPartial {
  readonly id: string
  /** Bytes that are present, as far as the journal tells. */
  readonly bytes: number
  /** Milliseconds since the epoch. */
  readonly touchedAt: number
}
