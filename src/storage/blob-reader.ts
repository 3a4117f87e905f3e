import type { LentBytes } from '../flow/lent-bytes.ts'

/** Random access to a blob's bytes, whether all stored or still arriving. Close it exactly once. */
export interface BlobReader extends AsyncDisposable {
  /** Bytes. */
  readonly size: number
  /**
   * Whether all bytes are known to match the digest. Who passes bytes on before that holds back the last one of
   * its answer until `verified` resolves, so that a wrong body is never completed.
   */
  readonly isVerified: boolean
  /**
   * Whether bytes that do not reach the end may be passed on to their last one before that: the rest is far off, and whoever
   * sends it has given no reason to doubt (decision 0059). Undefined: no.
   */
  readonly givesParts?: boolean | undefined
  /** Resolves when the digest is verified. Rejects when it does not match, or `signal` aborts. */
  verified(options?: { signal?: AbortSignal }): Promise<void>
  /**
   * Reads at least one byte at `position` into `buffer` and returns how many; waits for bytes that have not
   * arrived; 0 at the end. Rejects when the fill fails for good, the digest does not match, or `signal` aborts.
   */
  read(buffer: Uint8Array, position: number, options?: { signal?: AbortSignal }): Promise<number>
  /**
   * A hold of the caller's own of bytes from `position` on that are in memory; waits for them, and rejects, as `read` does.
   * Undefined at the end, and where they have to be read.
   */
  lend?(position: number, options?: { signal?: AbortSignal }): Promise<LentBytes | undefined>
}
