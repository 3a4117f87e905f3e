import type { Digest } from '../oci/digest.ts'
import type { Catalog } from '../storage/catalog.ts'

/** Times as long as it has worked it rests, and milliseconds at most: who pulls and pushes has the disk. */
const rest = { factor: 7, longestMs: 1000 }

/** Takes away many blobs, some at a time, and has the catalog know which have gone (docs/decisions/0035). */
export class RemovalSteps {
  readonly #catalog: Pick<Catalog, 'removed'>
  /** Gone, and still among the removals of the catalog. */
  #removed: Digest[] = []

  constructor(catalog: Pick<Catalog, 'removed'>) {
    this.#catalog = catalog
  }

  /** Milliseconds to rest after so many of work. */
  static restMs(workedMs: number): number {
    return Math.min(workedMs * rest.factor, rest.longestMs)
  }

  /** The bytes of a blob have gone. */
  gone(digest: Digest): void {
    this.#removed.push(digest)
  }

  /**
   * Does all of a step; what went before is told to the catalog along with it, in one commit. Throws the first failure
   * once all have ended.
   */
  async take<Item>(items: readonly Item[], work: (item: Item) => Promise<unknown>): Promise<void> {
    const working = [this.confirm(), ...items.map(work)]
    for (const one of await Promise.allSettled(working)) if (one.status === 'rejected') throw one.reason
  }

  /** Tells the catalog what went last. Throws StorageError. */
  async confirm(): Promise<void> {
    const removed = this.#removed
    this.#removed = []
    if (removed.length > 0) await this.#catalog.removed(removed)
  }
}
