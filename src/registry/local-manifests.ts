import type { Logger } from 'pino'
import { type Digest, digestAlgorithm, digestOf } from '../oci/digest.ts'
import type { DocumentReader } from '../oci/document-reader.ts'
import { RegistryError } from '../oci/error.ts'
import type { ParsedManifest } from '../oci/manifest.ts'
import { isManifestMediaType, isNondistributable, isSchema1MediaType } from '../oci/media-type.ts'
import { isDigestReference, type Reference, type Tag } from '../oci/reference.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import type { Catalog, ManifestRecord, ManifestReference, ReferenceKind } from '../storage/catalog.ts'
import { referencesOf } from '../storage/manifest-references.ts'
import { localOrigin, type RepositoryKey } from '../storage/repository-key.ts'
import type { AskOptions, PushedManifest, PushOptions, TakenManifest } from './repository.ts'

export interface LocalManifestsOptions {
  readonly catalog: Pick<
    Catalog,
    'deleteManifest' | 'deleteTag' | 'held' | 'isPushed' | 'manifest' | 'naming' | 'putManifest' | 'tag'
  >
  readonly documents: DocumentReader
  readonly logger: Logger
}

/** Digests that an answer lists of what a manifest lacks: a client pushes them one by one, and there may be 30,000. */
const missingTold = 100

/** The manifests of a local repository: how they come in, are found, and go. */
export class LocalManifests {
  readonly #options: LocalManifestsOptions
  readonly #key: RepositoryKey
  readonly #name: RepositoryName

  constructor(options: LocalManifestsOptions, key: RepositoryKey, name: RepositoryName) {
    this.#options = options
    this.#key = key
    this.#name = name
  }

  /** Undefined where there is none. */
  async find(reference: Reference): Promise<ManifestRecord | undefined> {
    const { catalog, logger } = this.#options
    const key = this.#key
    const digest = isDigestReference(reference) ? reference : (await catalog.tag(key, reference))?.digest
    if (digest === undefined) return undefined
    const holding = await catalog.held(key, digest)
    if (holding?.localAt === undefined) return undefined
    const record = await catalog.manifest(key, digest)
    if (record && digestOf(record.bytes, digestAlgorithm(digest)) === digest) return record
    // A blob can be asked for as a manifest: it has no media type.
    if (holding.mediaType !== undefined)
      logger.error({ repository: key, digest }, 'a manifest that was pushed is lost: push it again')
    return undefined
  }

  /** See `Pushing.putManifest`. */
  async put(
    reference: Reference,
    { bytes, mediaType, tags: others = [] }: PushedManifest,
    { client, user }: PushOptions = {},
  ): Promise<TakenManifest> {
    const { catalog, documents, logger } = this.#options
    const parsed = await documents.read('strict', bytes, mediaType)
    if (!isManifestMediaType(parsed.mediaType) || isSchema1MediaType(parsed.mediaType)) {
      const message = `${parsed.mediaType} is not taken: only manifests and indexes of OCI, and of Docker's schema 2`
      throw new RegistryError('MANIFEST_INVALID', message)
    }
    const isByDigest = isDigestReference(reference)
    const digest = isByDigest ? digestOf(bytes, digestAlgorithm(reference)) : digestOf(bytes)
    if (isByDigest && digest !== reference) {
      throw new RegistryError('DIGEST_INVALID', `the manifest has the digest ${digest}`)
    }
    const tags = [...new Set(isByDigest ? others : [reference, ...others])]
    const isFirst = !(await catalog.isPushed(this.#key))
    await this.#record({ digest, mediaType: parsed.mediaType, bytes }, parsed, tags, user ?? client)
    const about = {
      client,
      ...(user !== undefined && { user }),
      upstream: localOrigin,
      repository: this.#name,
    }
    if (isFirst)
      logger.info(about, 'the name belongs to this mirror alone from now on: no upstream is asked about it')
    for (const one of tags.length === 0 ? [digest] : tags)
      logger.info({ ...about, reference: one, digest }, 'pushed')
    return { digest, subject: parsed.subject?.digest, tags }
  }

  /** See `Repository.forget`. */
  async forget(reference: Reference, { client }: AskOptions = {}): Promise<boolean> {
    const { catalog, logger } = this.#options
    const digest = isDigestReference(reference)
      ? reference
      : (await catalog.tag(this.#key, reference))?.digest
    if (isDigestReference(reference)) {
      const outcome = await catalog.deleteManifest(this.#key, reference, Date.now())
      if (outcome === 'needed') throw await this.needed(reference, ['manifest'])
      if (outcome === 'absent') return false
    } else if (!(await catalog.deleteTag(this.#key, reference))) return false
    const about = { client, upstream: localOrigin, repository: this.#name }
    // What a tag pointed at stays, and is deleted by that.
    logger.info({ ...about, reference, digest }, 'deleted')
    if (!(await catalog.isPushed(this.#key)))
      logger.info(about, 'nothing that was pushed is left under the name')
    return true
  }

  /** That what a manifest needs is not deleted before it, with one that does. */
  async needed(digest: Digest, kinds: readonly ReferenceKind[]): Promise<RegistryError> {
    const { catalog } = this.#options
    let by: Digest | undefined
    for (const kind of kinds)
      by ??= (await catalog.naming(this.#key, digest, kind, { limit: 1 }))[0]?.manifest
    const message = `${digest} is not deleted: ${by ?? 'a manifest'} of ${this.#name} needs it; delete that one first`
    return new RegistryError('UNSUPPORTED', message, { allow: 'GET, HEAD' })
  }

  /** In one transaction: what belongs to it is here, and its tags point at it. */
  async #record(
    manifest: ManifestRecord,
    parsed: ParsedManifest,
    tags: readonly Tag[],
    mover: string | undefined,
  ): Promise<void> {
    const put = (references: readonly ManifestReference[]) =>
      this.#options.catalog.putManifest(this.#key, manifest, { references, tags, at: Date.now(), mover })
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
    if (missing.length === 0) return
    const more = missing.length > 3 ? ` and ${missing.length - 3} more` : ''
    const message = `${this.#name} lacks what the manifest names: push ${missing.slice(0, 3).join(', ')}${more} first`
    throw new RegistryError('MANIFEST_BLOB_UNKNOWN', message, {
      detail: missing.slice(0, missingTold).map((one) => ({ digest: one })),
    })
  }
}
