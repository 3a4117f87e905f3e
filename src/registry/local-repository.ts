import type { Logger } from 'pino'
import { type Digest, type DigestAlgorithm, digestAlgorithm, digestOf } from '../oci/digest.ts'
import type { DocumentReader } from '../oci/document-reader.ts'
import { RegistryError } from '../oci/error.ts'
import { isManifestMediaType, isNondistributable, isSchema1MediaType } from '../oci/media-type.ts'
import { maximumPageSize, type PageQuery } from '../oci/page-query.ts'
import { isDigestReference, type Reference, type Tag } from '../oci/reference.ts'
import { isRepositoryName, type RepositoryName } from '../oci/repository-name.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { Catalog, ManifestRecord, ManifestReference } from '../storage/catalog.ts'
import { referencesOf } from '../storage/manifest-references.ts'
import { localOrigin, type RepositoryKey, repositoryKey } from '../storage/repository-key.ts'
import type { LocalReferrers } from './local-referrers.ts'
import { lostOf } from './lost-bytes.ts'
import type {
  AskOptions,
  Pushing,
  Repository,
  ServedBlob,
  ServedBlobStat,
  ServedManifest,
  ServedReferrers,
  ServedTagPage,
  UploadState,
  WantedReferrers,
} from './repository.ts'
import type { Appending } from './upload-session.ts'
import type { Uploads } from './uploads.ts'

/** What all local repositories share. */
export interface LocalStore {
  readonly catalog: Pick<
    Catalog,
    'held' | 'lease' | 'manifest' | 'mount' | 'putManifest' | 'repository' | 'tag' | 'tags'
  >
  readonly blobs: {
    stat(
      digest: Digest,
      options?: { readonly signal?: AbortSignal | undefined },
    ): Promise<{ readonly size: number } | undefined>
    openStored(digest: Digest): Promise<BlobReader | undefined>
  }
  readonly documents: DocumentReader
  readonly referrers: LocalReferrers
  readonly uploads: Uploads
  readonly logger: Logger
}

/**
 * Milliseconds for which a blob that no manifest names is kept: long enough for the slowest push, since whoever was
 * told that a blob is here does not send it.
 */
const graceMs = 24 * 60 * 60_000
/** Digests that an answer lists of what a manifest lacks: a client pushes them one by one, and there may be 30,000. */
const missingTold = 100

/** A repository of this mirror alone: what was pushed to it is in it, and nobody else is ever asked. */
export class LocalRepository implements Repository, Pushing {
  readonly key: RepositoryKey
  readonly name: RepositoryName
  readonly upstream = undefined
  readonly #store: LocalStore

  constructor(store: LocalStore, name: RepositoryName) {
    this.key = repositoryKey(localOrigin, name)
    this.name = name
    this.#store = store
  }

  get push(): Pushing {
    return this
  }

  /**
   * A HEAD says that it is here where all that it needs is: whoever pushes, and hears that it is, sends nothing. Whoever
   * wants to have it may have what is left of it.
   */
  async manifest(
    reference: Reference,
    { isHead, ...asked }: AskOptions & { readonly isHead: boolean } = { isHead: false },
  ): Promise<ServedManifest> {
    const { catalog } = this.#store
    const digest = isDigestReference(reference) ? reference : (await catalog.tag(this.key, reference))?.digest
    const record = digest && (await this.#manifestOf(digest))
    if (!record) throw await this.#absent('MANIFEST_UNKNOWN', `manifest ${reference}`)
    const lost = isHead ? await this.#lostOf(record, asked) : undefined
    if (lost !== undefined) {
      const message = `the bytes of ${lost}, which ${reference} of ${this.name} needs, are lost: push the image again`
      throw new RegistryError('MANIFEST_UNKNOWN', message)
    }
    return { ...record, size: record.bytes.length, status: 'hit', checkedAt: undefined }
  }

  async blob(digest: Digest): Promise<ServedBlob> {
    const { catalog, blobs } = this.#store
    const isHeld = (await catalog.held(this.key, digest))?.localAt !== undefined
    const reader = isHeld ? await blobs.openStored(digest) : undefined
    if (reader) return { reader, status: 'hit' }
    if (!isHeld) throw await this.#absent('BLOB_UNKNOWN', `blob ${digest}`)
    const message = `the bytes of ${digest}, which was pushed to ${this.name}, are lost: push the image again`
    throw new RegistryError('BLOB_UNKNOWN', message)
  }

  /** Whoever is told that a blob is here does not send it, so that it is kept for a while from now on. */
  async blobStat(digest: Digest, options?: AskOptions): Promise<ServedBlobStat> {
    const { catalog, blobs } = this.#store
    const isLeased = await catalog.lease(this.key, digest, Date.now(), graceMs)
    const stored = isLeased ? await blobs.stat(digest, options) : undefined
    if (stored) return { size: stored.size, isStored: true }
    throw new RegistryError('BLOB_UNKNOWN', `${this.name} has no blob ${digest}`)
  }

  /** All of them where no number is given: few who ask so look for another page. */
  async tags({ n = maximumPageSize, last }: PageQuery): Promise<ServedTagPage> {
    if (!(await this.#isKnown())) throw this.#unknown()
    // One more tells whether there is another page.
    const found = await this.#store.catalog.tags(this.key, {
      ...(last === undefined ? {} : { after: last as Tag }),
      limit: n + 1,
    })
    const tags = found.slice(0, n)
    const next = found.length > n ? `n=${n}&last=${encodeURIComponent(tags.at(-1) ?? last ?? '')}` : undefined
    return { tags, next, status: 'hit' }
  }

  async referrers(subject: Digest, wanted: WantedReferrers): Promise<ServedReferrers> {
    const page = await this.#store.referrers.page(this.key, subject, wanted)
    return { ...page, status: 'hit', checkedAt: undefined }
  }

  async mount(
    digest: Digest,
    from: string | undefined,
    { mayRead, ...asked }: AskOptions & { readonly mayRead: (name: string) => boolean },
  ): Promise<boolean> {
    const { catalog, blobs } = this.#store
    if (from === undefined || !isRepositoryName(from) || !mayRead(from)) return false
    if (!(await blobs.stat(digest, asked))) return false
    const at = Date.now()
    return catalog.mount(this.key, digest, repositoryKey(localOrigin, from), { at, refusedAfter: at })
  }

  async begin({
    algorithm,
  }: AskOptions & { readonly algorithm?: DigestAlgorithm | undefined } = {}): Promise<UploadState> {
    return this.#store.uploads.begin(this.key, algorithm)
  }

  async upload(id: string): Promise<UploadState> {
    return this.#store.uploads.state(this.key, id)
  }

  async append(id: string, body: AsyncIterable<Uint8Array>, options: Appending): Promise<UploadState> {
    return this.#store.uploads.append(this.key, id, body, options)
  }

  async finish(
    id: string,
    digest: Digest,
    body: AsyncIterable<Uint8Array>,
    options: Appending,
  ): Promise<void> {
    await this.#store.uploads.finish(this.key, id, digest, body, options)
  }

  async cancel(id: string, { signal }: AskOptions): Promise<void> {
    await this.#store.uploads.cancel(this.key, id, signal)
  }

  async putManifest(
    reference: Reference,
    { bytes, mediaType }: { readonly bytes: Uint8Array; readonly mediaType: string | undefined },
    { client }: { readonly client?: string | undefined } = {},
  ): Promise<{ readonly digest: Digest; readonly subject: Digest | undefined }> {
    const parsed = await this.#store.documents.read('strict', bytes, mediaType)
    if (!isManifestMediaType(parsed.mediaType) || isSchema1MediaType(parsed.mediaType)) {
      const message = `${parsed.mediaType} is not taken: only manifests and indexes of OCI, and of Docker's schema 2`
      throw new RegistryError('MANIFEST_INVALID', message)
    }
    const digest = isDigestReference(reference)
      ? digestOf(bytes, digestAlgorithm(reference))
      : digestOf(bytes)
    if (isDigestReference(reference) && digest !== reference) {
      throw new RegistryError('DIGEST_INVALID', `the manifest has the digest ${digest}`)
    }
    const record = { digest, mediaType: parsed.mediaType, bytes }
    const tags = isDigestReference(reference) ? [] : [reference]
    const put = (references: readonly ManifestReference[]) =>
      this.#store.catalog.putManifest(this.key, record, { references, tags, at: Date.now() })
    const isFirst = tags.length > 0 && (await this.#store.catalog.tags(this.key, { limit: 1 })).length === 0
    const references = referencesOf(parsed)
    let missing = await put(references)
    // Its layers of a vendor are kept where they were pushed, and need not be.
    const vendors = new Set(
      parsed.blobs.flatMap(({ digest, mediaType }) => (isNondistributable(mediaType) ? [digest] : [])),
    )
    if (missing.length > 0 && missing.every((one) => vendors.has(one))) {
      const absent = new Set(missing)
      missing = await put(references.filter(({ target }) => !absent.has(target)))
    }
    if (missing.length > 0) {
      const more = missing.length > 3 ? ` and ${missing.length - 3} more` : ''
      const message = `${this.name} lacks what the manifest names: push ${missing.slice(0, 3).join(', ')}${more} first`
      throw new RegistryError('MANIFEST_BLOB_UNKNOWN', message, {
        detail: missing.slice(0, missingTold).map((one) => ({ digest: one })),
      })
    }
    const { logger } = this.#store
    const upstream = localOrigin
    if (isFirst)
      logger.info(
        { upstream, repository: this.name },
        'the name belongs to this mirror alone from now on: no upstream is asked about it',
      )
    logger.info({ client, upstream, repository: this.name, reference, digest }, 'pushed')
    return { digest, subject: parsed.subject?.digest }
  }

  async #lostOf(manifest: ManifestRecord, asked: AskOptions): Promise<Digest | undefined> {
    const { blobs } = this.#store
    return lostOf(manifest, {
      isHere: async (digest) => (await blobs.stat(digest, asked)) !== undefined,
      manifest: (digest) => this.#manifestOf(digest),
    })
  }

  async #manifestOf(digest: Digest): Promise<ManifestRecord | undefined> {
    const { catalog, logger } = this.#store
    const holding = await catalog.held(this.key, digest)
    if (holding?.localAt === undefined) return undefined
    const record = await catalog.manifest(this.key, digest)
    if (record && digestOf(record.bytes, digestAlgorithm(digest)) === digest) return record
    // A blob can be asked for as a manifest: it has no media type.
    if (holding.mediaType !== undefined)
      logger.error({ repository: this.key, digest }, 'a manifest that was pushed is lost: push it again')
    return undefined
  }

  async #absent(code: 'MANIFEST_UNKNOWN' | 'BLOB_UNKNOWN', what: string): Promise<RegistryError> {
    if (await this.#isKnown()) return new RegistryError(code, `${this.name} has no ${what}`)
    return this.#unknown()
  }

  async #isKnown(): Promise<boolean> {
    return (await this.#store.catalog.repository(this.key)) !== undefined
  }

  #unknown(): RegistryError {
    const message = `nothing was pushed to ${this.name} yet, and the name belongs to this mirror alone (local.repositories in mirror.yml): no upstream is asked`
    return new RegistryError('NAME_UNKNOWN', message)
  }
}
