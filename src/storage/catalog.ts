import type { Digest } from '../oci/digest.ts'
import type { Tag } from '../oci/reference.ts'
import type { Referrer } from '../oci/referrers.ts'
import type { RepositoryName } from '../oci/repository-name.ts'

/** A repository of one upstream; the same name elsewhere is another repository. */
export interface RepositoryId {
  /** The upstream's name, such as docker.io. */
  readonly upstream: string
  readonly name: RepositoryName
}

/** What a tag pointed at when its upstream was last asked. */
export interface TagRecord {
  readonly digest: Digest
  /** Milliseconds since the epoch: when the upstream last said so. */
  readonly checkedAt: number
}

export interface ManifestRecord {
  readonly digest: Digest
  /** As the upstream sent it; replayed to the letter. */
  readonly mediaType: string
  /** The very bytes; nobody changes them. */
  readonly bytes: Uint8Array
}

/** What refers to a manifest, as its upstream last said. */
export interface ReferrersRecord {
  readonly referrers: readonly Referrer[]
  /** Milliseconds since the epoch: when the upstream said so. */
  readonly checkedAt: number
}

/** Whether everybody may read a repository. */
export interface PublicityRecord {
  readonly isPublic: boolean
  /** Milliseconds since the epoch: when the upstream said so; 0 where that was not written down. */
  readonly askedAt: number
}

/** A blob that a repository may read. */
export interface BlobRecord {
  readonly digest: Digest
  /** Bytes, where a manifest or the upstream told. */
  readonly size: number | undefined
}

/**
 * The durable record of repositories, their tags and manifests, and which repository may read which blob.
 * Whether a blob's bytes are here is the blob store's word. What a resolved write recorded survives a kill and a
 * power cut. Every implementation passes `test/storage/catalog.contract.ts`.
 */
export interface Catalog extends AsyncDisposable {
  /** The tag, or undefined where the repository has none of that name. */
  tag(repository: RepositoryId, tag: Tag): Promise<TagRecord | undefined>
  /** All tags of a repository in ASCII order. */
  tags(repository: RepositoryId): Promise<Tag[]>
  /** A manifest of this repository; undefined where only others have it, or nobody. */
  manifest(repository: RepositoryId, digest: Digest): Promise<ManifestRecord | undefined>
  /** What refers to a manifest; undefined where its upstream was never asked. */
  referrers(repository: RepositoryId, subject: Digest): Promise<ReferrersRecord | undefined>
  /** A blob that this repository may read; undefined where it may not, whoever else may. */
  blob(repository: RepositoryId, digest: Digest): Promise<BlobRecord | undefined>
  /** Records a manifest and the blobs that it lets its repository read, in one transaction. */
  saveManifest(
    repository: RepositoryId,
    manifest: ManifestRecord,
    blobs: readonly BlobRecord[],
  ): Promise<void>
  /** Points a tag at a manifest of its repository; a move is kept in the tag's history. */
  saveTag(repository: RepositoryId, tag: Tag, record: TagRecord): Promise<void>
  /** Records what refers to a manifest, in place of what was known; that nothing does is recorded as well. */
  saveReferrers(repository: RepositoryId, subject: Digest, record: ReferrersRecord): Promise<void>
  /** Whether everybody may read the repository; undefined where that was never found out. */
  publicity(repository: RepositoryId): Promise<PublicityRecord | undefined>
  /** Records whether everybody may read the repository. */
  savePublicity(repository: RepositoryId, record: PublicityRecord): Promise<void>
  /** Lets a repository read a blob, because its upstream confirmed it. */
  saveBlob(repository: RepositoryId, blob: BlobRecord): Promise<void>
}
