import { lruCache } from '../flow/lru-cache.ts'
import type { Digest } from '../oci/digest.ts'

const maximumBlobs = 10_000

/** Which upstreams the bytes of blobs came from that are not whole yet. What an earlier process left came from nobody knows where. */
export class Origins {
  readonly #byDigest = lruCache<Digest, Set<string>>(maximumBlobs)

  /** Nothing of it is here. */
  begin(digest: Digest): void {
    this.#byDigest.set(digest, new Set())
  }

  /** An upstream has brought bytes of it. */
  brought(digest: Digest, upstream: string): void {
    this.#byDigest.get(digest)?.add(upstream)
  }

  /** Whether all bytes that are here came from this upstream. */
  isOnly(digest: Digest, upstream: string): boolean {
    const origins = this.#byDigest.get(digest)
    return origins !== undefined && [...origins].every((name) => name === upstream)
  }
}
