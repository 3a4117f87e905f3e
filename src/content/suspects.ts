import { lruCache } from '../flow/lru-cache.ts'
import type { Digest } from '../oci/digest.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'

const maximumSuspects = 10_000
/** Milliseconds for which it is remembered. */
const suspectMs = 10 * 60 * 1000

/** Repositories that alone have brought bytes a moment ago that do not match their digest. */
export class Suspects {
  readonly #caught = lruCache<string, true>(maximumSuspects, { ttl: suspectMs })

  /** Whether this way was wrong about this digest. What is nobody's evidence is stored here, and was verified. */
  has(digest: Digest, repository: RepositoryKey | undefined): boolean {
    return repository !== undefined && this.#caught.has(`${repository} ${digest}`)
  }

  /** It has brought wrong bytes, and nobody else any of them. */
  caught(digest: Digest, repository: RepositoryKey | undefined): void {
    if (repository !== undefined) this.#caught.set(`${repository} ${digest}`, true)
  }

  /** Bytes of it were right. */
  cleared(digest: Digest, repository: RepositoryKey | undefined): void {
    if (repository !== undefined) this.#caught.delete(`${repository} ${digest}`)
  }
}
