import { setImmediate } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import { type Digest, digestAlgorithm, digestOf, isDigest } from '../oci/digest.ts'
import type { DocumentReader } from '../oci/document-reader.ts'
import { RegistryError } from '../oci/error.ts'
import { isOfType, noSuchPage, type Referrer, ReferrerPage, referrersTag } from '../oci/referrers.ts'
import type { Catalog } from '../storage/catalog.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import type { WantedReferrers } from './repository.ts'

export interface LocalReferrersOptions {
  readonly catalog: Pick<Catalog, 'held' | 'manifest' | 'naming' | 'tag'>
  readonly documents: DocumentReader
}

/** Rows that are read at once. */
const readAtOnce = 100
/** Of descriptors that are remembered, in bytes, and of one of them. */
const [knownBytes, maximumKnownBytes] = [8 * 1024 * 1024, 64 * 1024]

/**
 * What refers to a manifest in local repositories (distribution-spec "Listing Referrers"): the manifests that name it
 * as their subject, and those that a client which knows no such list has put under the tag of the referrers tag schema.
 * Each once, in the order of their digests, so that what is pushed meanwhile moves nothing from one page to another.
 */
export class LocalReferrers {
  readonly #options: LocalReferrersOptions
  /** As lists show manifests, which say it in megabytes perhaps. */
  readonly #known = new LRUCache<string, Referrer>({
    maxSize: knownBytes,
    maxEntrySize: maximumKnownBytes,
    sizeCalculation: (referrer, key) => 2 * JSON.stringify(referrer).length + key.length + 200,
  })

  constructor(options: LocalReferrersOptions) {
    this.#options = options
  }

  /** Throws RegistryError PAGINATION_NUMBER_INVALID (400) where `from` is no place in the list. */
  async page(
    repository: RepositoryKey,
    subject: Digest,
    { artifactTypes, from }: WantedReferrers,
  ): Promise<{ readonly referrers: readonly Referrer[]; readonly next: string | undefined }> {
    if (from !== undefined && !isDigest(from)) throw noSuchPage()
    const page = new ReferrerPage()
    for await (const { manifest, artifactType } of this.#all(repository, subject, from)) {
      if (artifactType !== undefined && !isOfType(artifactType, artifactTypes)) continue
      const referrer = await this.#describe(repository, manifest)
      if (!referrer || !isOfType(referrer.artifactType, artifactTypes)) continue
      if (!page.add(referrer)) return { referrers: page.referrers, next: page.referrers.at(-1)?.digest }
    }
    return { referrers: page.referrers, next: undefined }
  }

  /** Both kinds in one order, behind `from`. */
  async *#all(
    repository: RepositoryKey,
    subject: Digest,
    from: Digest | undefined,
  ): AsyncGenerator<{ readonly manifest: Digest; readonly artifactType: string | undefined }> {
    const tagged = await this.#tagged(repository, subject, from)
    for await (const naming of this.#naming(repository, subject, from)) {
      for (let one = tagged.at(-1); one !== undefined && one <= naming.manifest; one = tagged.at(-1)) {
        tagged.pop()
        if (one !== naming.manifest) yield { manifest: one, artifactType: undefined }
      }
      yield naming
    }
    for (const manifest of tagged.toReversed()) yield { manifest, artifactType: undefined }
  }

  async *#naming(repository: RepositoryKey, subject: Digest, from: Digest | undefined) {
    for (let after = from; ; ) {
      const page = { limit: readAtOnce, ...(after === undefined ? {} : { after }) }
      const naming = await this.#options.catalog.naming(repository, subject, 'subject', page)
      yield* naming
      if (naming.length < readAtOnce) return
      after = naming.at(-1)?.manifest
      await setImmediate()
    }
  }

  /** Behind `from`, the last one first. Whatever else lies under the tag is no list. */
  async #tagged(repository: RepositoryKey, subject: Digest, from: Digest | undefined): Promise<Digest[]> {
    const { catalog, documents } = this.#options
    const tag = await catalog.tag(repository, referrersTag(subject))
    const index = tag && (await catalog.manifest(repository, tag.digest))
    if (!index) return []
    try {
      const listed = await documents.read('referrers', index.bytes)
      const digests = listed.map(({ digest }) => digest)
      return digests
        .filter((digest) => from === undefined || digest > from)
        .toSorted()
        .toReversed()
    } catch (error) {
      if (error instanceof RegistryError) return []
      throw error
    }
  }

  /** Undefined where the repository has no such manifest, whatever an index says. */
  async #describe(repository: RepositoryKey, digest: Digest): Promise<Referrer | undefined> {
    const { catalog, documents } = this.#options
    const holding = await catalog.held(repository, digest)
    if (holding?.localAt === undefined || holding.mediaType === undefined) return undefined
    const key = `${digest} ${holding.mediaType}`
    const known = this.#known.get(key)
    if (known) return known
    const record = await catalog.manifest(repository, digest)
    if (!record || digestOf(record.bytes, digestAlgorithm(digest)) !== digest) return undefined
    const referrer = await documents.read('referrer', record.bytes, record.mediaType, digest)
    this.#known.set(key, referrer)
    return referrer
  }
}
