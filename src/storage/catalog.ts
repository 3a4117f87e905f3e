import type { Digest } from '../oci/digest.ts'
import type { Tag } from '../oci/reference.ts'
import type { Referrer } from '../oci/referrers.ts'
import type { FactReads, FactVerbs } from './facts.ts'
import type { ListedAsked, ListedNames } from './listed-names.ts'
import type { PageOf } from './page-of.ts'
import type { SealedFile } from './partial.ts'
import type { PinReads, PinVerbs } from './pins.ts'
import type { RefusalTimes } from './refusal-times.ts'
import type { RepositoryKey } from './repository-key.ts'
import type { StoredBytesReads, StoredBytesVerbs } from './stored-bytes.ts'
import type { UploadReads, UploadVerbs } from './upload-records.ts'
import type { WishReads, WishVerbs } from './wishes.ts'

/** As whom an upstream was asked, and so for whom its answer is evidence. */
export type Asker = 'anyone' | 'account'

/** What was asked, and when: milliseconds since the epoch. */
export interface Asked {
  readonly as: Asker
  readonly at: number
}

/** What a tag pointed at when its upstream was last asked, or when it was pushed. */
export interface TagRecord {
  readonly digest: Digest
  /** Milliseconds since the epoch: when the upstream last said so. */
  readonly checkedAt: number
}

export interface ManifestRecord {
  readonly digest: Digest
  /** As it was sent; replayed to the letter. */
  readonly mediaType: string
  /** The very bytes; nobody changes them. */
  readonly bytes: Uint8Array
}

/** As what a manifest names something. All but `subject` belong to it: it cannot be used without them. */
export type ReferenceKind = 'config' | 'layer' | 'manifest' | 'subject'

/** Something that a manifest names. */
export interface ManifestReference {
  readonly target: Digest
  readonly kind: ReferenceKind
  /** Bytes, as the manifest claims. */
  readonly size?: number | undefined
  /** What the manifest is to its subject. */
  readonly artifactType?: string | undefined
}

/** What refers to a manifest, as its upstream last said. */
export interface ReferrersRecord {
  readonly referrers: readonly Referrer[]
  /** Milliseconds since the epoch: when the upstream said so. */
  readonly checkedAt: number
}

/**
 * The evidence that a repository has some content, a manifest or a blob, and why it is kept. All times are milliseconds
 * since the epoch, and undefined where that was never so.
 */
export interface Holding {
  /** As this repository has it, of a manifest; undefined: a blob, or a manifest of which its upstream only said yes. */
  readonly mediaType?: string | undefined
  /** Its upstream last gave it to anyone. */
  readonly publicAt?: number | undefined
  /** Its upstream last gave it to an account. */
  readonly accountAt?: number | undefined
  /** It was pushed or mounted here. */
  readonly localAt?: number | undefined
  /** It was wanted for ever. */
  readonly pinnedAt?: number | undefined
  /** Since then nothing carries this: no manifest needs the blob, and of a manifest see `deleteManifest`. */
  readonly idleSince?: number | undefined
  /** Its repository has been refused to anyone since then. */
  readonly refusedSince?: number | undefined
}

/** A repository, and the evidence that it has some content. */
export interface RepositoryHolding extends Holding {
  readonly repository: RepositoryKey
}

/** A repository that some upstream said yes about, or that was pushed to. */
export interface RepositoryRecord {
  /** Milliseconds since the epoch: the first refusal of a question as anyone since the last yes; undefined: none. */
  readonly refusedSince: number | undefined
}

/** A manifest of a repository that names something in it. */
export interface NamingManifest {
  readonly manifest: Digest
  readonly artifactType: string | undefined
}

/** What a local repository has and nothing carries any more. */
export interface IdleContent {
  readonly repository: RepositoryKey
  readonly digest: Digest
  /** Milliseconds since the epoch. */
  readonly idleSince: number
}

/** What is put into a local repository along with a manifest. */
interface ManifestPut {
  readonly references: readonly ManifestReference[]
  readonly tags: readonly Tag[]
  /** Milliseconds since the epoch. */
  readonly at: number
  /** Who moves the tags, for their history. */
  readonly mover?: string | undefined
}

/** The questions. None of them changes anything; what is damaged is a miss. */
export interface CatalogReads extends FactReads, PinReads, StoredBytesReads, UploadReads, WishReads {
  /** What the catalog knows of a repository; undefined for one that no upstream ever said yes about and nobody pushed to. */
  repository(repository: RepositoryKey): Promise<RepositoryRecord | undefined>
  /** By origin, then name, in the order of their bytes. */
  repositories(
    page: PageOf<RepositoryKey> & { readonly origin?: string | undefined },
  ): Promise<RepositoryKey[]>
  /** The names of an origin's repositories that have something for anyone, as far as it looked for them. */
  listed(asked: ListedAsked): Promise<ListedNames>
  /** Whether a manifest that was pushed is in the repository. */
  isPushed(repository: RepositoryKey): Promise<boolean>
  /** The evidence that a repository has this content. */
  held(repository: RepositoryKey, digest: Digest): Promise<Holding | undefined>
  /**
   * What a manifest of the repository says of this digest. Where several do: what belongs to a manifest goes before
   * a subject, else the first by kind and manifest.
   */
  named(
    repository: RepositoryKey,
    digest: Digest,
  ): Promise<Pick<ManifestReference, 'kind' | 'size'> | undefined>
  /**
   * Whether anyone may have it: some repository holds it for anyone, and is not refused, or only since `refusedAfter`.
   * Looked for in the 16 in which it was last confirmed.
   */
  isFree(digest: Digest, times: RefusalTimes): Promise<boolean>
  /** Local repositories that have this content, those first that became known first. */
  localHolders(digest: Digest, limit: number): Promise<RepositoryKey[]>
  /** Who keeps a digest whoever else needs room, those first that became known first: pushed, mounted or pinned. */
  keeping(digest: Digest, limit: number): Promise<RepositoryHolding[]>
  /**
   * Repositories whose upstream gave a digest: those that gave it to anyone first, the last one first, then those that
   * gave it to an account alone.
   */
  holders(digest: Digest, limit: number): Promise<RepositoryHolding[]>
  /**
   * Repositories of upstreams that name a digest in a manifest, among the next so many: there is no index of it. `last`:
   * the last one that was looked at; undefined where there are no more.
   */
  namers(
    digest: Digest,
    page: PageOf<RepositoryKey>,
  ): Promise<{ readonly repositories: readonly RepositoryKey[]; readonly last: RepositoryKey | undefined }>
  /**
   * The bytes of a manifest where they are here, whoever holds it: no right. The media type is this repository's, else
   * that of some other one.
   */
  manifest(repository: RepositoryKey, digest: Digest): Promise<ManifestRecord | undefined>
  /** The tag, or undefined where the repository has none of that name. */
  tag(repository: RepositoryKey, tag: Tag): Promise<TagRecord | undefined>
  /** In ASCII order; all behind `after` where no limit is given. */
  tags(repository: RepositoryKey, page?: Partial<PageOf<Tag>>): Promise<Tag[]>
  /** What its upstream last said refers to a manifest; undefined where it was never asked. */
  referrers(repository: RepositoryKey, subject: Digest): Promise<ReferrersRecord | undefined>
  /** The manifests of this repository that name `target` as this kind of thing, by digest. */
  naming(
    repository: RepositoryKey,
    target: Digest,
    kind: ReferenceKind,
    page: PageOf<Digest>,
  ): Promise<NamingManifest[]>
  /** What may be let go: what has been idle in local repositories since before this, the longest first. */
  idle(before: number, page: PageOf<IdleContent>): Promise<IdleContent[]>
}

/** The changes: each one is one transaction, whole or not at all, and durable once it resolves. */
export interface CatalogVerbs extends FactVerbs, PinVerbs, StoredBytesVerbs, UploadVerbs, WishVerbs {
  /**
   * An upstream gave a manifest, and this tag for it: the repository, the bytes (in place of others that are kept under
   * this digest), the evidence, what it names, and the tag with its move.
   */
  pulled(
    repository: RepositoryKey,
    manifest: ManifestRecord,
    given: Asked & {
      readonly tag?: Tag | undefined
      readonly references: readonly ManifestReference[]
    },
  ): Promise<void>
  /**
   * Its upstream says that a tag points at this digest. False, and nothing recorded, where the repository does not
   * hold that manifest: it is to be pulled.
   */
  checked(repository: RepositoryKey, tag: Tag, digest: Digest, asked: Asked): Promise<boolean>
  /** Its upstream says that the repository has this blob or manifest. */
  confirmed(repository: RepositoryKey, digest: Digest, asked: Asked): Promise<void>
  /**
   * Its upstream refused the repository to anyone. True for the first time since the last yes; a repository that is
   * not known leaves no record.
   */
  refused(repository: RepositoryKey, at: number): Promise<boolean>
  /**
   * What refers to a manifest, in place of what was known; that nothing does is recorded as well. False, and nothing
   * recorded, where the repository is not known.
   */
  saveReferrers(repository: RepositoryKey, subject: Digest, record: ReferrersRecord): Promise<boolean>
  /** Bytes were pushed and are sealed: they are here, and the repository holds them. `upload`: which has ended thereby. */
  pushed(
    repository: RepositoryKey,
    digest: Digest,
    file: SealedFile,
    at: number,
    upload?: string | undefined,
  ): Promise<void>
  /**
   * A local repository gets a blob of another one, or one that is free. False where the bytes are not here, or it is
   * not `from`'s to give to anyone.
   */
  mount(
    to: RepositoryKey,
    digest: Digest,
    from: RepositoryKey | 'free',
    times: RefusalTimes,
  ): Promise<boolean>
  /**
   * Whether a local repository has this blob, bytes and all, or this manifest. If so it is promised: nobody lets it go
   * within three quarters of `graceMs` from `at`.
   */
  lease(repository: RepositoryKey, digest: Digest, at: number, graceMs: number): Promise<boolean>
  /**
   * Puts a manifest into a local repository, with tags that point at it. Returns what the repository lacks of what
   * belongs to it, in their order and each once; if anything, nothing was done.
   */
  putManifest(repository: RepositoryKey, manifest: ManifestRecord, put: ManifestPut): Promise<Digest[]>
  /** False where there is none. Its history stays. */
  deleteTag(repository: RepositoryKey, tag: Tag): Promise<boolean>
  /**
   * With its tags. Idle from then on are the blobs that nothing else in the repository names, and those manifests that
   * it listed, or that are about it, which no tag, no index, and no subject that is here carries; until one does, or they
   * are put again. `needed`: it was pushed, and so was an index that lists it, so that nothing was done.
   */
  deleteManifest(
    repository: RepositoryKey,
    digest: Digest,
    at: number,
  ): Promise<'absent' | 'needed' | 'deleted'>
  /**
   * Takes a blob away from a repository. `needed`: it was pushed, and a manifest of the repository needs it, so that
   * nothing was done. `unlink`: nobody else holds it, the record of its bytes is gone, and they may go.
   */
  deleteBlob(repository: RepositoryKey, digest: Digest): Promise<'absent' | 'needed' | 'kept' | 'unlink'>
  /**
   * Takes away from a repository what at `at` has been idle for more than `graceMs`, and already had when each upload to
   * it began that is under way: a push may last longer than the grace. `unlink`: nobody holds it any more, the record of
   * its bytes is gone, and they may go. `deleted`: it was a manifest, as by `deleteManifest`.
   */
  letGo(
    repository: RepositoryKey,
    digest: Digest,
    at: number,
    graceMs: number,
  ): Promise<'kept' | 'unlink' | 'deleted'>
}

/**
 * The durable record of repositories: what they hold and on whose word, what their manifests name, their tags, and
 * which bytes are here. Every implementation passes `test/storage/catalog.contract.ts`.
 */
export interface Catalog extends CatalogReads, CatalogVerbs, AsyncDisposable {}
