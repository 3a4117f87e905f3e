import { LRUCache } from 'lru-cache'
import type { Digest } from '../oci/digest.ts'

/** Bytes of memory for small content in all. */
const capacity = 32 * 1024 * 1024
/** Bytes that an entry costs beside its content. */
const overhead = 200

/**
 * Small content by its digest, in memory: what is asked for again and again. Only what was verified may be set, and
 * whoever removes the bytes it came from has to say so here first.
 */
export class Documents {
  readonly #bytes = new LRUCache<Digest, Uint8Array>({
    maxSize: capacity,
    sizeCalculation: (bytes) => bytes.length + overhead,
  })

  /** Nobody changes the bytes. */
  get(digest: Digest): Uint8Array | undefined {
    return this.#bytes.get(digest)
  }

  /** `bytes` match `digest`, and are not changed any more. */
  set(digest: Digest, bytes: Uint8Array): void {
    this.#bytes.set(digest, bytes)
  }

  forget(digest: Digest): void {
    this.#bytes.delete(digest)
  }
}
