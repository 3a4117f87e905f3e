import type { Digest } from '../../oci/digest.ts'
import type { Tag } from '../../oci/reference.ts'
import type {
  Holding,
  IdleContent,
  ManifestReference,
  ReferrersRecord,
  RepositoryHolding,
  TagRecord,
} from '../catalog.ts'
import type { FactName } from '../facts.ts'
import type { SealedFile } from '../partial.ts'
import { isAbout, type PinPattern, tagMatcherOf } from '../pins.ts'
import { notYetCounting, type RefusalTimes } from '../refusal-times.ts'
import { localOrigin, originOf, type RepositoryKey } from '../repository-key.ts'
import type { UploadRecord } from '../upload-records.ts'
import type { Wish } from '../wishes.ts'

interface Held extends Omit<Holding, 'refusedSince'> {
  readonly repository: RepositoryKey
  readonly digest: Digest
}

interface Naming extends ManifestReference {
  readonly repository: RepositoryKey
  readonly manifest: Digest
}

interface Stored extends SealedFile {
  readonly digest: Digest
  readonly usedAt: number
  readonly verifiedAt: number
}

/** How many of those that hold a digest for anyone are looked at. */
const freeSearch = 16

/**
 * The tables of the catalog in memory, by their primary keys, and what several verbs do to them. Searches walk through
 * all rows: plain enough to compare SQLite with.
 */
export class CatalogTables {
  /** In the order in which they became known. */
  readonly repositories = new Map<RepositoryKey, { readonly id: number; refusedSince: number | undefined }>()
  readonly manifests = new Map<Digest, Uint8Array>()
  readonly holdings = new Map<string, Held>()
  readonly references = new Map<string, Naming>()
  readonly tags = new Map<string, TagRecord & { readonly repository: RepositoryKey; readonly name: Tag }>()
  readonly referrers = new Map<string, ReferrersRecord>()
  readonly blobs = new Map<Digest, Stored>()
  readonly uploads = new Map<string, UploadRecord>()
  readonly removals = new Set<Digest>()
  readonly pins = new Map<string, PinPattern & { readonly pinnedAt: number }>()
  readonly facts = new Map<FactName, number>()
  readonly wishes = new Map<string, Wish>()

  /** Makes the repository known; a yes to anyone ends its being refused. */
  know(repository: RepositoryKey, isYesToAnyone = false): void {
    const known = this.repositories.get(repository) ?? {
      id: this.repositories.size + 1,
      refusedSince: undefined,
    }
    if (isYesToAnyone) known.refusedSince = undefined
    this.repositories.set(repository, known)
  }

  holding(repository: RepositoryKey, digest: Digest): Held | undefined {
    return this.holdings.get(keyOf(repository, digest))
  }

  hold(repository: RepositoryKey, digest: Digest, change: Holding): void {
    const before = this.holding(repository, digest) ?? { repository, digest }
    this.holdings.set(keyOf(repository, digest), { ...before, ...change })
  }

  /** A local blob without a manifest that needs it is idle from `at` on, else not at all. */
  holdLocally(repository: RepositoryKey, digest: Digest, at: number): void {
    const before = this.holding(repository, digest)
    const isNeeded = before?.mediaType !== undefined || this.needs(repository, digest)
    this.hold(repository, digest, {
      localAt: before?.localAt ?? at,
      idleSince: isNeeded ? undefined : at,
    })
  }

  /** Whether a manifest of the repository cannot be used without this. */
  needs(repository: RepositoryKey, target: Digest, kinds = ['config', 'layer', 'manifest']): boolean {
    return this.namings(repository, target).some(({ kind }) => kinds.includes(kind))
  }

  /** By kind, then manifest. */
  namings(repository: RepositoryKey, target: Digest): Naming[] {
    return [...this.references.values()]
      .filter((row) => row.repository === repository && row.target === target)
      .toSorted(by('kind', 'manifest'))
  }

  /** Replaces what a manifest names. What is needed now is not idle; what nothing needs any more is, from `at` on. */
  name(
    repository: RepositoryKey,
    manifest: Digest,
    references: readonly ManifestReference[],
    at: number,
  ): void {
    const former = [...this.references.values()].filter(
      (row) => row.repository === repository && row.manifest === manifest,
    )
    for (const { target, kind } of former) {
      this.references.delete(keyOf(repository, target, kind, manifest))
    }
    for (const reference of references) {
      const key = keyOf(repository, reference.target, reference.kind, manifest)
      this.references.set(key, { ...reference, repository, manifest })
    }
    for (const { target, kind } of [...former, ...references]) {
      if (kind !== 'subject') this.#settleIdle(repository, target, at)
    }
  }

  /** A manifest has come or gone: what is about it is not idle, or is unless something else carries it. */
  settleAbout(repository: RepositoryKey, subject: Digest, at: number): void {
    for (const { kind, manifest } of this.namings(repository, subject)) {
      if (kind === 'subject') this.#settleIdle(repository, manifest, at)
    }
  }

  /** Whether something keeps it: a manifest that needs it, a tag, or a manifest here that it is about. */
  isCarried(repository: RepositoryKey, digest: Digest): boolean {
    const isAbout = [...this.references.values()].some(
      (row) =>
        row.repository === repository &&
        row.manifest === digest &&
        row.kind === 'subject' &&
        this.holding(repository, row.target)?.mediaType !== undefined,
    )
    const hasTag = [...this.tags.values()].some(
      (tag) => tag.repository === repository && tag.digest === digest,
    )
    return isAbout || hasTag || this.needs(repository, digest)
  }

  #settleIdle(repository: RepositoryKey, digest: Digest, at: number): void {
    const held = this.holding(repository, digest)
    if (held?.localAt === undefined) return
    const idleSince = this.isCarried(repository, digest) ? undefined : (held.idleSince ?? at)
    this.hold(repository, digest, { idleSince })
  }

  /** Takes away what a repository has; the row remains as long as it is pinned. */
  disown(repository: RepositoryKey, digest: Digest): void {
    const pinnedAt = this.holding(repository, digest)?.pinnedAt
    this.holdings.delete(keyOf(repository, digest))
    if (pinnedAt !== undefined) this.hold(repository, digest, { pinnedAt })
  }

  /** Pins what is wanted of a repository from `at` on, and nothing else any more. */
  settlePins(repository: RepositoryKey, at: number): void {
    const pinned = this.#wanted(repository)
    for (const digest of pinned) {
      const pinnedAt = this.holding(repository, digest)?.pinnedAt ?? at
      this.hold(repository, digest, { pinnedAt })
    }
    for (const held of this.holdings.values()) {
      if (held.repository !== repository || held.pinnedAt === undefined || pinned.has(held.digest)) continue
      if (isEvidence(held)) this.hold(repository, held.digest, { pinnedAt: undefined })
      else this.holdings.delete(keyOf(repository, held.digest))
    }
  }

  /** What pinned tags point at, and all that it needs. */
  #wanted(repository: RepositoryKey): ReadonlySet<Digest> {
    const patterns = [...this.pins.values()].filter((pattern) => isAbout(pattern, repository))
    const isPinned = tagMatcherOf(patterns.map(({ tag }) => tag))
    const tags = [...this.tags.values()].filter((tag) => tag.repository === repository && isPinned(tag.name))
    const wanted = new Set(tags.map(({ digest }) => digest))
    // What is added to a set while it is walked through is walked through as well.
    for (const manifest of wanted) {
      for (const row of this.references.values()) {
        if (row.repository === repository && row.manifest === manifest && row.kind !== 'subject') {
          wanted.add(row.target)
        }
      }
    }
    return wanted
  }

  /** Those who have a digest, in the order in which the repositories became known. */
  holdersOf(digest: Digest): Held[] {
    return [...this.holdings.values()]
      .filter((held) => held.digest === digest)
      .toSorted((one, other) => this.#idOf(one.repository) - this.#idOf(other.repository))
  }

  /** As evidence of its repository. */
  withRefusal({ repository, ...held }: Held): RepositoryHolding {
    const { mediaType, publicAt, accountAt, localAt, pinnedAt, idleSince } = held
    const refusedSince = this.repositories.get(repository)?.refusedSince
    return { repository, mediaType, publicAt, accountAt, localAt, pinnedAt, idleSince, refusedSince }
  }

  isFree(digest: Digest, times: RefusalTimes): boolean {
    return this.holdersOf(digest)
      .filter(({ publicAt }) => publicAt !== undefined)
      .toReversed()
      .toSorted((one, other) => (other.publicAt ?? 0) - (one.publicAt ?? 0))
      .slice(0, freeSearch)
      .some(({ repository }) => this.counts(repository, times))
  }

  /** Whether what a repository holds for anyone still counts. */
  counts(repository: RepositoryKey, times: RefusalTimes): boolean {
    const { refusedSince } = this.repositories.get(repository) ?? {}
    const [after, before] = notYetCounting(times)
    return refusedSince === undefined || (refusedSince > after && refusedSince < before)
  }

  /** Whether it has a manifest that was pushed, or that it holds for anyone. */
  isListed(repository: RepositoryKey, times: RefusalTimes): boolean {
    const isForAnyone = originOf(repository) !== localOrigin && this.counts(repository, times)
    return [...this.holdings.values()].some(
      (held) =>
        held.repository === repository &&
        held.mediaType !== undefined &&
        (held.localAt !== undefined || (isForAnyone && held.publicAt !== undefined)),
    )
  }

  /** Whether its bytes are kept whoever else needs room. */
  isKept(digest: Digest): boolean {
    return [...this.holdings.values()].some((held) => held.digest === digest && isKeeping(held))
  }

  /** All digests of which that is true. */
  keptDigests(): Set<Digest> {
    const keeping = [...this.holdings.values()].filter(isKeeping)
    return new Set(keeping.map(({ digest }) => digest))
  }

  /** Removes the record of bytes, which may go then. False where there is none. */
  dropBlob(digest: Digest): boolean {
    if (this.blobs.has(digest)) this.removals.add(digest)
    return this.blobs.delete(digest)
  }

  /** Blobs that were used or verified before a time, the longest ago first. */
  blobsBefore(time: 'usedAt' | 'verifiedAt', before: number): Stored[] {
    return [...this.blobs.values()].filter((row) => row[time] < before).toSorted(by(time, 'digest'))
  }

  /** What is local and idle since before a time, the longest first, behind one of them. */
  idleBefore(before: number, after?: IdleContent): IdleContent[] {
    const inOrder = (one: IdleContent, other: IdleContent) =>
      one.idleSince - other.idleSince ||
      this.#idOf(one.repository) - this.#idOf(other.repository) ||
      by<IdleContent>('digest')(one, other)
    return [...this.holdings.values()]
      .flatMap(({ repository, digest, idleSince }) =>
        idleSince !== undefined && idleSince < before ? [{ repository, digest, idleSince }] : [],
      )
      .filter((idle) => after === undefined || inOrder(idle, after) > 0)
      .toSorted(inOrder)
  }

  #idOf(repository: RepositoryKey): number {
    return this.repositories.get(repository)?.id ?? 0
  }
}

/** Whether it was pushed, mounted or pinned. */
export function isKeeping({ localAt, pinnedAt }: Holding): boolean {
  return localAt !== undefined || pinnedAt !== undefined
}

/** Whether somebody said that the repository has it: that it is wanted is no evidence. */
export function isEvidence({ publicAt, accountAt, localAt }: Holding): boolean {
  return publicAt !== undefined || accountAt !== undefined || localAt !== undefined
}

/** A primary key of several columns. */
export function keyOf(...columns: readonly string[]): string {
  return columns.join(' ')
}

/** An order by these columns. Digests are in the order of their bytes: those of sha256 first. */
export function by<Row>(...columns: readonly (keyof Row)[]): (one: Row, other: Row) => number {
  return (one, other) => {
    for (const column of columns) {
      if (one[column] < other[column]) return -1
      if (one[column] > other[column]) return 1
    }
    return 0
  }
}
