import type { Digest, DigestAlgorithm } from '../oci/digest.ts'
import type { SealedFile } from './partial.ts'

/**
 * A blob that a client sends from its first byte to its last. What is here is what was written, so that nothing has to
 * be noted beside it: a process that is killed loses no byte, and a power cut may leave wrong ones, which the digest
 * tells at the end. Its owner ends it exactly once, by `seal`, `suspend` or `discard`; disposing suspends what nobody
 * ended. Every implementation passes `test/storage/blob-writer.contract.ts`.
 */
export interface BlobWriter extends AsyncDisposable {
  readonly id: string
  /** Bytes that are here. */
  readonly size: number
  /** Whether it holds a descriptor. */
  readonly isOpen: boolean
  /**
   * Writes these bytes behind what is here, all of them or, as far as `size` tells, none. One at a time. Throws
   * StorageError, and the reason of an end.
   */
  append(pieces: readonly Uint8Array[]): Promise<void>
  /** Gives its descriptor back until the next append, which may be at once. */
  rest(): Promise<void>
  /**
   * Whether the bytes that are here are those of `expected`, of whichever algorithm. Throws RegistryError DIGEST_INVALID
   * and StorageError. Ends nothing.
   */
  verify(expected: Digest): Promise<void>
  /** As `Partial.seal`, and after another StorageError than BUSY it has ended, and the bytes are gone. */
  seal(expected: Digest): Promise<SealedFile>
  /** Ends it, the bytes stay for a later `open`, but where a sync has failed. No error after an end. */
  suspend(reason: Error): Promise<void>
  /** Ends it and removes the bytes. No error after an end. */
  discard(reason: Error): Promise<void>
}

export interface BlobWriterOptions {
  /** Letters, digits and "-". */
  readonly id: string
  /** In which the bytes are hashed as they come; the other one costs another reading at the end. */
  readonly algorithm: DigestAlgorithm
}

/** What a writer has left, or has got so far. */
export interface FoundWriter {
  readonly id: string
  /** Bytes. */
  readonly size: number
  /** Milliseconds since the epoch. */
  readonly touchedAt: number
}

/** The blobs that clients send. */
export interface BlobWriters {
  /** Goes on with what an earlier one left under this id, or begins. Throws Error where it is open, TypeError for a bad id. */
  open(options: BlobWriterOptions): Promise<BlobWriter>
  /** All that there are, by id. */
  list(): Promise<FoundWriter[]>
  /** Removes what an earlier one left. No error where there is nothing. Throws Error where it is open. */
  remove(id: string): Promise<void>
}
