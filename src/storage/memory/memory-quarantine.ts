import type { Digest } from '../../oci/digest.ts'
import type { StoredTotal } from '../blob-store.ts'
import type { Quarantine, QuarantinedBlob } from '../quarantine.ts'

/** Remembers what was put into it; of the bytes only how many they are. */
export class MemoryQuarantine implements Quarantine {
  readonly #take: (digest: Digest) => Promise<number | undefined>
  readonly #blobs = new Map<Digest, QuarantinedBlob>()

  /** `take`: takes a blob out of the store. */
  constructor(take: (digest: Digest) => Promise<number | undefined>) {
    this.#take = take
  }

  get total(): StoredTotal {
    const bytes = this.list().reduce((sum, { size }) => sum + size, 0)
    return { bytes, blobs: this.#blobs.size }
  }

  list(): readonly QuarantinedBlob[] {
    return [...this.#blobs.values()]
  }

  async put(digest: Digest): Promise<number> {
    const size = await this.#take(digest)
    if (size === undefined) return 0
    this.#blobs.delete(digest)
    this.#blobs.set(digest, { digest, size, at: Date.now() })
    return size
  }

  /** It has no bytes. */
  async isWhole(): Promise<boolean> {
    return false
  }

  async restore(): Promise<undefined> {}

  async remove(digest: Digest): Promise<number> {
    const size = this.#blobs.get(digest)?.size ?? 0
    this.#blobs.delete(digest)
    return size
  }
}
