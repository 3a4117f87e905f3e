import type { KeyedLock } from '../flow/keyed-lock.ts'
import type { Digest } from '../oci/digest.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import type { BlobUse } from './blob-use.ts'
import type { Documents } from './documents.ts'

export interface RemovalOptions {
  readonly store: Pick<BlobStore, 'delete'>
  readonly documents: Documents
  /** Held over what changes files and records of a digest together. */
  readonly lock: KeyedLock<Digest>
  readonly use: BlobUse
}

/** The only removal of bytes. */
export class Removal {
  readonly #options: RemovalOptions

  constructor(options: RemovalOptions) {
    this.#options = options
  }

  /**
   * Removes a blob where `condition`, a transaction that takes its record away, says so, and returns its bytes. Who reads it
   * keeps it to the end. `away`: what is done with its file instead of deleting it, and to how many bytes.
   */
  async remove(
    digest: Digest,
    condition: () => Promise<boolean>,
    away: () => Promise<number> = () => this.#options.store.delete(digest),
  ): Promise<number> {
    const { documents, lock, use } = this.#options
    // Guards against this order: (1) `condition` takes the record away. (2) A push renames the same bytes to their
    // place and records them. (3) The file goes that was just promised.
    return lock.run(digest, async () => {
      if (!(await condition())) return 0
      documents.forget(digest)
      use.forget(digest)
      return away()
    })
  }
}
