import { LRUCache } from 'lru-cache'
import type { Digest } from '../oci/digest.ts'
import type { Tag } from '../oci/reference.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'

/** What an upstream's HEAD said of a tag. */
export interface ClaimedTag {
  readonly tag: Tag
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** Milliseconds in which whoever asked by HEAD comes for the manifest. */
const bounds = { max: 1000, ttl: 60_000 }

/** Tags of which only the digest is known: nothing else of a claim is kept, until the manifest of that digest has come. */
export class ClaimedTags {
  readonly #claims = new LRUCache<string, ClaimedTag>(bounds)

  /** Remembers that a tag was said to point at this digest just now. */
  note(repository: RepositoryKey, digest: Digest, tag: Tag): void {
    this.#claims.set(`${repository} ${digest}`, { tag, at: Date.now() })
  }

  /** The tag that was said to point at this digest a moment ago. */
  tag(repository: RepositoryKey, digest: Digest): Tag | undefined {
    return this.#claims.peek(`${repository} ${digest}`)?.tag
  }

  /** The same, and when that was; forgets it. */
  take(repository: RepositoryKey, digest: Digest): ClaimedTag | undefined {
    const claim = this.#claims.get(`${repository} ${digest}`)
    this.#claims.delete(`${repository} ${digest}`)
    return claim
  }
}
