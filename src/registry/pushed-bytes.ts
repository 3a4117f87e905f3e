import type { Digest, DigestAlgorithm } from '../oci/digest.ts'
import type { BlobWriter } from '../storage/blob-writer.ts'
import type { SealedFile } from '../storage/partial.ts'

/** Room on the disk for a blob that is pushed; see `Reservation`. */
export interface PushedRoom extends Disposable {
  reserve(bytes: number, signal: AbortSignal): Promise<boolean>
  has(end: number): boolean
  take(end: number, signal: AbortSignal): Promise<boolean>
  afterFull(bytes: number, signal: AbortSignal): Promise<boolean>
}

/** The bytes of blobs, as far as pushing them needs. */
export interface PushedBytes {
  /** What an earlier attempt left under `id`, else a new one. May wait, until `signal` aborts. */
  openWriter(id: string, algorithm: DigestAlgorithm, signal: AbortSignal): Promise<BlobWriter>
  /**
   * Verifies and publishes what was written, and records it, as one step to whoever removes bytes. Throws
   * RegistryError DIGEST_INVALID where it is something else; it is then as it was.
   */
  seal(writer: BlobWriter, digest: Digest, record: (file: SealedFile) => Promise<void>): Promise<unknown>
  /** The disk has refused something. */
  failed(error: unknown): void
  /** Room on the disk for one blob, of which so many bytes are there; to be given back by the caller. */
  reserve(purpose: 'push', present: () => number): PushedRoom
}
