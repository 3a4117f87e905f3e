import type { Digest } from '../oci/digest.ts'
import type { BlobReader } from './blob-reader.ts'
import type { StoredTotal } from './files/stored-count.ts'
import type { Partial } from './partial.ts'

/**
 * Content by its digest. Only what was verified is ever visible. Every implementation passes
 * `test/storage/blob-store.contract.ts`.
 */
export interface BlobStore extends AsyncDisposable {
  /** What is stored in all, as far as it was counted since the start. */
  readonly stored: StoredTotal
  /** The size of a stored blob in bytes; undefined where it is not stored. */
  size(digest: Digest): Promise<number | undefined>
  /** A reader of a stored blob, to be closed by the caller; undefined where it is not stored. */
  open(digest: Digest): Promise<BlobReader | undefined>
  /** Removes a blob. Open readers keep their bytes. No error where it is not stored. */
  delete(digest: Digest): Promise<void>
  /**
   * Opens the partial `id`: the one that an earlier process left, if its size agrees, else a new one. Throws
   * where it is open already.
   */
  openPartial(options: PartialOptions): Promise<Partial>
  /** The size in bytes that an earlier process expected of the partial `id`; undefined where there is none. */
  partialSize(id: string): Promise<number | undefined>
  /** Bytes that the partial `id` may have in all: what is free less a reserve for the catalog, and what it holds already. */
  roomFor(id: string): Promise<number>
  /** Rejects where the store cannot be written to, with the file system's error. */
  probe(): Promise<void>
}

export interface PartialOptions {
  /** Letters, digits and "-"; for a fill derived from the digest, so that a later process finds it. */
  readonly id: string
  readonly algorithm: 'sha256' | 'sha512'
  /** Bytes, where it is known. */
  readonly size: number | undefined
}
