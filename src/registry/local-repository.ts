import type { Digest, DigestAlgorithm } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { maximumPageSize, type PageQuery } from '../oci/page-query.ts'
import { isDigestReference, type Reference, type Tag } from '../oci/reference.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { Catalog } from '../storage/catalog.ts'
import { localOrigin, type RepositoryKey, repositoryKey } from '../storage/repository-key.ts'
import { LocalManifests, type LocalManifestsOptions } from './local-manifests.ts'
import type { LocalReferrers } from './local-referrers.ts'
import type { LostBytes } from './lost-bytes.ts'
import type { Mounts } from './mounts.ts'
import type {
  AskOptions,
  Pushing,
  PushOptions,
  Repository,
  ServedBlob,
  ServedBlobStat,
  ServedManifest,
  ServedReferrers,
  ServedTagPage,
  TakenManifest,
  UploadState,
  WantedReferrers,
} from './repository.ts'
import type { Appending } from './upload-session.ts'
import type { Uploads } from './uploads.ts'

/** What all local repositories share. */
export interface LocalStore extends LocalManifestsOptions {
  readonly catalog: LocalManifestsOptions['catalog'] &
    Pick<Catalog, 'deleteBlob' | 'lease' | 'repository' | 'tags'>
  readonly blobs: {
    stat(
      digest: Digest,
      options?: { readonly signal?: AbortSignal | undefined },
    ): Promise<{ readonly size: number } | undefined>
    openStored(digest: Digest): Promise<BlobReader | undefined>
    remove(digest: Digest, condition: () => Promise<boolean>): Promise<number>
  }
  readonly referrers: LocalReferrers
  readonly lost: LostBytes
  readonly mounts: Pick<Mounts, 'mount'>
  readonly uploads: Uploads
  /**
   * Milliseconds for which a blob that no manifest names is kept (`local.collectAfter`): whoever was told that it is here
   * does not send it.
   */
  readonly collectAfterMs: number
}

/** A repository of this mirror alone: what was pushed to it is in it, and nobody else is ever asked. */
export class LocalRepository implements Repository, Pushing {
  readonly key: RepositoryKey
  readonly name: RepositoryName
  readonly upstream = undefined
  readonly #store: LocalStore
  readonly #manifests: LocalManifests
  readonly #isPushable: boolean

  /** `isPushable`: whether its name can be pushed (still). */
  constructor(store: LocalStore, name: RepositoryName, { isPushable = true } = {}) {
    this.key = repositoryKey(localOrigin, name)
    this.name = name
    this.#store = store
    this.#isPushable = isPushable
    this.#manifests = new LocalManifests(store, this.key, name)
  }

  get push(): Pushing | undefined {
    return this.#isPushable ? this : undefined
  }

  /**
   * A HEAD says that it is here where all that it needs is: whoever pushes, and hears that it is, sends nothing, so that
   * it is kept for a while from now on. Whoever wants to have it may have what is left of it.
   */
  async manifest(
    reference: Reference,
    { isHead, signal }: AskOptions & { readonly isHead: boolean } = { isHead: false },
  ): Promise<ServedManifest> {
    const record = await this.#manifests.find(reference)
    const isHere = record && (!isHead || !isDigestReference(reference) || (await this.#lease(reference)))
    if (!isHere) throw await this.#absent('MANIFEST_UNKNOWN', `manifest ${reference}`)
    const find = (digest: Digest) => this.#manifests.find(digest)
    const around = { repository: this.key, find, signal }
    const lost = isHead ? await this.#store.lost.of(record, around) : undefined
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
    this.#store.lost.lookAgain()
    const message = `the bytes of ${digest}, which was pushed to ${this.name}, are lost: push the image again`
    throw new RegistryError('BLOB_UNKNOWN', message)
  }

  /** Whoever is told that a blob is here does not send it, so that it is kept for a while from now on. */
  async blobStat(digest: Digest, options?: AskOptions): Promise<ServedBlobStat> {
    const { blobs } = this.#store
    const isLeased = await this.#lease(digest)
    const stored = isLeased ? await blobs.stat(digest, options) : undefined
    if (stored) return { size: stored.size, isStored: true }
    if (isLeased) this.#store.lost.lookAgain()
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

  async mount(...[digest, from, options]: Parameters<Pushing['mount']>): Promise<boolean> {
    return this.#store.mounts.mount(this.key, digest, from, options)
  }

  async begin(
    options: PushOptions & { readonly algorithm?: DigestAlgorithm | undefined } = {},
  ): Promise<UploadState> {
    return this.#store.uploads.begin(this.key, options)
  }

  async upload(id: string, options: PushOptions = {}): Promise<UploadState> {
    return this.#store.uploads.state(this.key, id, options)
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

  async cancel(id: string, options: PushOptions): Promise<void> {
    await this.#store.uploads.cancel(this.key, id, options)
  }

  putManifest(...put: Parameters<LocalManifests['put']>): Promise<TakenManifest> {
    return this.#manifests.put(...put)
  }

  forget(reference: Reference, asked?: AskOptions): Promise<boolean> {
    return this.#manifests.forget(reference, asked)
  }

  /** Its bytes go with it where nobody else has it. */
  async forgetBlob(digest: Digest, { client }: AskOptions = {}): Promise<boolean> {
    const { catalog, blobs, logger } = this.#store
    const deleting = Promise.withResolvers<Awaited<ReturnType<Catalog['deleteBlob']>>>()
    await blobs.remove(digest, async () => {
      const outcome = await catalog.deleteBlob(this.key, digest)
      deleting.resolve(outcome)
      return outcome === 'unlink'
    })
    const outcome = await deleting.promise
    if (outcome === 'needed') throw await this.#manifests.needed(digest, ['config', 'layer', 'manifest'])
    if (outcome === 'absent') return false
    logger.info({ client, upstream: localOrigin, repository: this.name, digest }, 'deleted')
    return true
  }

  #lease(digest: Digest): Promise<boolean> {
    return this.#store.catalog.lease(this.key, digest, Date.now(), this.#store.collectAfterMs)
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
