import type { Digest } from '../oci/digest.ts'
import type { SealedFile } from '../storage/partial.ts'

/** What is recorded of stored bytes. */
export interface BlobRow extends SealedFile {
  /** Milliseconds since the epoch when the bytes were last found to match their digest; undefined: never. */
  readonly verifiedAt: number | undefined
}

/** What the catalog knows of stored bytes, as far as whoever gives them has to. Times: milliseconds since the epoch. */
export interface BlobRecords {
  blob(digest: Digest): Promise<BlobRow | undefined>
  /** The bytes were verified, and are stored in this file. */
  sealed(digest: Digest, file: SealedFile, at: number): Promise<void>
  /** The bytes of this file were read again, and match. */
  verified(digest: Digest, file: SealedFile, at: number): Promise<void>
  used(digests: readonly Digest[], at: number): Promise<void>
  /** The file is not there any more, or of no use. */
  gone(digest: Digest): Promise<void>
}

/** Records that end with the process. */
export class VolatileRecords implements BlobRecords {
  readonly #rows = new Map<Digest, BlobRow>()

  async blob(digest: Digest): Promise<BlobRow | undefined> {
    return this.#rows.get(digest)
  }

  async sealed(digest: Digest, file: SealedFile, at: number): Promise<void> {
    this.#rows.set(digest, { ...file, verifiedAt: at })
  }

  async verified(digest: Digest, file: SealedFile, at: number): Promise<void> {
    this.#rows.set(digest, { ...file, verifiedAt: at })
  }

  async used(): Promise<void> {}

  async gone(digest: Digest): Promise<void> {
    this.#rows.delete(digest)
  }
}
