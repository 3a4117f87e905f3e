import type { Reference } from '../oci/reference.ts'
import type { RepositoryKey } from './repository-key.ts'

/** Something of an upstream that is to be fetched later. */
export interface Wanted {
  readonly repository: RepositoryKey
  /** A tag or a digest of a manifest, the digest of a blob. */
  readonly reference: Reference
  readonly kind: 'manifest' | 'blob'
}

export interface Wish extends Wanted {
  /** For which machine, of an index; undefined where nobody knows. */
  readonly platform: string | undefined
  /** Milliseconds since the epoch: when somebody last wanted it. */
  readonly askedAt: number
  /** Milliseconds since the epoch before which it is not tried. */
  readonly dueAt: number
}

/** What the catalog tells of what is to be fetched. */
export interface WishReads {
  /** All of them, those first that were wanted first. */
  wishes(): Promise<Wish[]>
}

/** How wishes come and go. */
export interface WishVerbs {
  /** In place of one for the same, whose platform stays where this has none. Of more than `most` the oldest go. */
  wish(wish: Wish, most: number): Promise<void>
  /** Fetched, or not to be had. False where there is no such wish. */
  unwish(wanted: Wanted): Promise<boolean>
}
