import type { Background } from '../flow/slots.ts'
import type { Digest, DigestAlgorithm } from '../oci/digest.ts'
import type { PageQuery } from '../oci/page-query.ts'
import type { RangeSpec } from '../oci/range.ts'
import type { Reference, Tag } from '../oci/reference.ts'
import type { Referrer } from '../oci/referrers.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'

/** How an answer came about; sent as `X-Larder-Cache`. */
export type CacheStatus = 'hit' | 'joined' | 'miss' | 'revalidated' | 'stale'

/** Of every question. */
export interface AskOptions {
  /** Aborts when whoever asks is gone. */
  readonly signal?: AbortSignal | undefined
  /** For whom; bounds and turns are shared out by it. Undefined: for the mirror itself. */
  readonly client?: string | undefined
  /** For what it is where nobody waits for it: the last pulls of a quota are not for that. */
  readonly background?: Background | undefined
  /** Since when it waits, in milliseconds of `performance.now()`: bounds are waited for no longer in all than one is. */
  readonly since?: number | undefined
}

/** Of a blob. */
export interface AskBlobOptions extends AskOptions {
  /** The parts of it that are wanted; undefined: all of it. */
  readonly ranges?: readonly RangeSpec[] | undefined
}

/** Of every push. */
export interface PushOptions extends AskOptions {
  /** Who has logged in, if anybody. */
  readonly user?: string | undefined
}

/** What is the same for all that is served. */
interface Served {
  readonly status: CacheStatus
  /** Why the answer may be out of date, or not whole, in a sentence for a `Warning`; undefined where it is sure. */
  readonly doubt?: string | undefined
}

export interface ServedManifest extends Served {
  readonly digest: Digest
  readonly mediaType: string
  /** The very bytes; nobody changes them. Empty in the answer to a HEAD where only the upstream's word is known. */
  readonly bytes: Uint8Array
  /** Of the manifest, in bytes. */
  readonly size: number
  /** Milliseconds since the epoch at which the upstream last confirmed the tag; undefined for a digest and what is local. */
  readonly checkedAt: number | undefined
}

export interface ServedBlob extends Served {
  /** Whether it came over the line for whoever asks, before it was asked for. */
  readonly isAhead?: boolean
  /** To be closed by the caller. */
  readonly reader: BlobReader
}

/** What a HEAD tells of a blob. */
export interface ServedBlobStat {
  /** Bytes; undefined where nobody tells. */
  readonly size: number | undefined
  readonly isStored: boolean
  /** As in `Served`. */
  readonly doubt?: string | undefined
}

export interface ServedTagPage extends Served {
  readonly tags: readonly string[]
  /** The query of the next page, without "?"; undefined for the last one. */
  readonly next: string | undefined
}

/** Which referrers are wanted. */
export interface WantedReferrers {
  /** Artifacts of one of these types; all where none is given. */
  readonly artifactTypes: readonly string[]
  /** Where the page begins, as the one before says; undefined: at the first one. */
  readonly from: string | undefined
}

export interface ServedReferrers extends Served {
  /** At most 4 MiB as JSON, but for one alone that is larger. */
  readonly referrers: readonly Referrer[]
  /** Where the next page begins, for `from`; undefined for the last one. */
  readonly next: string | undefined
  /** Milliseconds since the epoch at which the upstream last told; undefined where it never did, and for what is local. */
  readonly checkedAt: number | undefined
}

/** How much of an upload is here. */
export interface UploadState {
  readonly id: string
  /** Bytes that are here: where the next ones go. */
  readonly offset: number
}

/**
 * What can be pushed into a repository (distribution-spec "Push"). All reject with RegistryError, and with StorageError
 * where the disk takes no more.
 */
export interface Pushing {
  /**
   * Whether the repository has the blob now because `from`, as the client wrote it, gives it to whoever asks; without
   * `from` because it is given to anyone. `mayRead`: whether whoever asks may use the repository of this name.
   */
  mount(
    digest: Digest,
    from: string | undefined,
    options: AskOptions & { readonly mayRead: (name: string) => boolean },
  ): Promise<boolean>
  /**
   * `algorithm`: of the digest that is to come, where that is known. The session of a user is no one else's. Throws
   * TOOMANYREQUESTS (429) where as many are under way as may be, for one client or in all.
   */
  begin(options: PushOptions & { readonly algorithm?: DigestAlgorithm | undefined }): Promise<UploadState>
  /** Throws BLOB_UPLOAD_UNKNOWN (404) where there is no such session. */
  upload(id: string, options: PushOptions): Promise<UploadState>
  /**
   * Appends what `body` brings. Throws BLOB_UPLOAD_UNKNOWN (404), BLOB_UPLOAD_INVALID (416) where `start` is not where
   * the session stands, SIZE_INVALID (413), TOOMANYREQUESTS (429) where there is no room for it; it goes on all the same.
   * `length`: bytes of the body, where that is told.
   */
  append(
    id: string,
    body: AsyncIterable<Uint8Array>,
    options: PushOptions & { readonly start?: number | undefined; readonly length?: number | undefined },
  ): Promise<UploadState>
  /** The last bytes, and the end of the session: the blob is here, durably. Throws DIGEST_INVALID (400), and as `append`. */
  finish(
    id: string,
    digest: Digest,
    body: AsyncIterable<Uint8Array>,
    options: PushOptions & { readonly start?: number | undefined; readonly length?: number | undefined },
  ): Promise<void>
  /** Ends a session without a blob, and its bytes go. Throws BLOB_UPLOAD_UNKNOWN (404), BLOB_UPLOAD_INVALID (416). */
  cancel(id: string, options: PushOptions): Promise<void>
  /**
   * Keeps a manifest, byte for byte, and moves all tags to it at once: those of `PushedManifest`, and `reference` where
   * it is one. Throws MANIFEST_INVALID (400), DIGEST_INVALID (400), MANIFEST_BLOB_UNKNOWN (404) with the digests that are
   * missing. The user is for the log and the history of the tags.
   */
  putManifest(reference: Reference, manifest: PushedManifest, options: PushOptions): Promise<TakenManifest>
}

/** A manifest that somebody pushes. */
export interface PushedManifest {
  readonly bytes: Uint8Array
  /** The Content-Type that it came with. */
  readonly mediaType: string | undefined
  /** What else is to point at it (`?tag=`, distribution-spec end-7b). */
  readonly tags?: readonly Tag[] | undefined
}

/** What became of one. */
export interface TakenManifest {
  readonly digest: Digest
  /** The manifest that it is about. */
  readonly subject: Digest | undefined
  /** All that point at it now, each once. */
  readonly tags: readonly Tag[]
}

/**
 * A repository as clients see it, whatever stands behind it. All questions reject with RegistryError or UpstreamError
 * where it has no such thing, or it cannot be had now.
 */
export interface Repository {
  readonly key: RepositoryKey
  /** At its origin. */
  readonly name: RepositoryName
  /** The name of its upstream, for the log and metrics; undefined where it is local. */
  readonly upstream: string | undefined
  /** `isHead`: only what is told of it is wanted. */
  manifest(reference: Reference, options: AskOptions & { readonly isHead: boolean }): Promise<ServedManifest>
  /** The reader is to be closed by the caller. */
  blob(digest: Digest, options: AskBlobOptions): Promise<ServedBlob>
  /** Fetches nothing: a client that only asks causes no download. */
  blobStat(digest: Digest, options: AskOptions): Promise<ServedBlobStat>
  tags(page: PageQuery, options: AskOptions): Promise<ServedTagPage>
  /** A page of them. */
  referrers(subject: Digest, wanted: WantedReferrers, options: AskOptions): Promise<ServedReferrers>
  /**
   * Takes away a tag alone, or by its digest a manifest with all its tags (distribution-spec end-9): what was pushed is
   * deleted, what is mirrored only forgotten, so that its upstream is asked anew. False where there is none. Throws
   * UNSUPPORTED (405) where an index that was pushed needs it.
   */
  forget(reference: Reference, options: AskOptions): Promise<boolean>
  /** A blob likewise (end-10); throws UNSUPPORTED (405) where a manifest that was pushed needs it. */
  forgetBlob(digest: Digest, options: AskOptions): Promise<boolean>
  /** Undefined where nothing can be pushed. */
  readonly push: Pushing | undefined
}
