import { lruCache } from '../flow/lru-cache.ts'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'

const maximumSuspects = 10_000
/** Milliseconds for which it is remembered. */
const suspectMs = 10 * 60 * 1000

/**
 * Repositories that were wrong about a digest a moment ago, or contradicted what was here of it. What is nobody's evidence is
 * stored here, and was verified.
 */
export class Suspects {
  readonly #caught = lruCache<string, true>(maximumSuspects, { ttl: suspectMs })
  readonly #contradicting = lruCache<string, true>(maximumSuspects, { ttl: suspectMs })

  /** Whether this way was wrong about this digest. */
  has(digest: Digest, repository: RepositoryKey | undefined): boolean {
    return this.#caught.has(keyOf(digest, repository))
  }

  /** It has brought wrong bytes, and nobody else any of them. */
  caught(digest: Digest, repository: RepositoryKey | undefined): void {
    if (repository !== undefined) this.#caught.set(keyOf(digest, repository), true)
  }

  /** Whether an attempt that goes on with what is here would fail by this way, as one did a moment ago. */
  contradicts(digest: Digest, repository: RepositoryKey | undefined): boolean {
    return this.#contradicting.has(keyOf(digest, repository))
  }

  /** What is here and what it says of the blob cannot both be right. */
  contradicted(digest: Digest, repository: RepositoryKey | undefined): void {
    if (repository !== undefined) this.#contradicting.set(keyOf(digest, repository), true)
  }

  /** Bytes of it were right. */
  cleared(digest: Digest, repository: RepositoryKey | undefined): void {
    this.#caught.delete(keyOf(digest, repository))
    this.#contradicting.delete(keyOf(digest, repository))
  }
}

function keyOf(digest: Digest, repository: RepositoryKey | undefined): string {
  return `${repository} ${digest}`
}
