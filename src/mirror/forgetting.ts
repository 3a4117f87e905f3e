import type { Digest } from '../oci/digest.ts'
import { isDigestReference, type Reference } from '../oci/reference.ts'
import type { Catalog } from '../storage/catalog.ts'
import type { Answers } from './answers.ts'
import type { Evidence } from './evidence.ts'
import type { KeptManifests } from './kept-manifests.ts'
import type { Referrers } from './referrers.ts'
import type { TagLists } from './tag-lists.ts'
import type { UpstreamRepository } from './upstream-repository.ts'

export interface ForgettingOptions {
  readonly catalog: Pick<Catalog, 'deleteBlob' | 'deleteManifest' | 'deleteTag'>
  readonly kept: KeptManifests
  readonly evidence: Evidence
  readonly answers: Answers
  readonly tagLists: TagLists
  readonly referrers: Referrers
}

/**
 * Makes an upstream be asked anew: what it said about something is taken out of the catalog, then out of each memory, so
 * that nothing which was read of it before is left. Its own content is not touched.
 */
export class Forgetting {
  readonly #options: ForgettingOptions

  constructor(options: ForgettingOptions) {
    this.#options = options
  }

  /** A tag alone, or a manifest with its tags. Whether there was one. */
  async reference({ key }: UpstreamRepository, reference: Reference): Promise<boolean> {
    const { catalog, kept, evidence, answers, tagLists, referrers } = this.#options
    const isDigest = isDigestReference(reference)
    const isKnown = isDigest
      ? (await catalog.deleteManifest(key, reference, Date.now())) === 'deleted'
      : await catalog.deleteTag(key, reference)
    if (isDigest) {
      kept.forget(key, reference)
      evidence.forget(key, reference)
      await referrers.forget(key, reference)
    }
    tagLists.forget(key)
    await answers.forget(key, reference)
    return isKnown
  }

  /**
   * That the repository has a blob. `remove` removes its bytes where its condition says so. Whether it was known.
   */
  async blob(
    { key }: UpstreamRepository,
    digest: Digest,
    remove: (condition: () => Promise<boolean>) => Promise<unknown>,
  ): Promise<boolean> {
    const { catalog, evidence, answers } = this.#options
    let isKnown = false
    await remove(async () => {
      const outcome = await catalog.deleteBlob(key, digest)
      isKnown = outcome !== 'absent'
      return outcome === 'unlink'
    })
    evidence.forget(key, digest)
    await answers.forget(key, digest)
    return isKnown
  }
}
