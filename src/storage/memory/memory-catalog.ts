import type { Digest } from '../../oci/digest.ts'
import type { Tag } from '../../oci/reference.ts'
import type {
  Catalog,
  CatalogVerbs,
  Holding,
  IdleContent,
  ManifestRecord,
  NamingManifest,
  ReferenceKind,
  ReferrersRecord,
  RepositoryHolding,
  RepositoryRecord,
  TagRecord,
} from '../catalog.ts'
import type { FactName } from '../facts.ts'
import type { ListedAsked, ListedNames } from '../listed-names.ts'
import type { PageOf } from '../page-of.ts'
import type { PinRecord } from '../pins.ts'
import type { RefusalTimes } from '../refusal-times.ts'
import { localOrigin, nameOf, originOf, type RepositoryKey, repositoryKey } from '../repository-key.ts'
import type { BlobRow, CachedBlob, Usage } from '../stored-bytes.ts'
import type { UploadRecord } from '../upload-records.ts'
import type { Wish } from '../wishes.ts'
import { by, CatalogTables, isEvidence, isKeeping, keyOf } from './catalog-tables.ts'
import { memoryVerbs } from './verbs.ts'
import { inOrder } from './wish-verbs.ts'

/**
 * The catalog in memory: for tests, and the plain reading of what the one in SQLite does. Each verb happens at once,
 * when it is called; a kill loses none. What a process left is opened by the next one with `new
 * MemoryCatalog(previous.tables)`.
 */
export class MemoryCatalog implements Catalog {
  readonly tables: CatalogTables
  #isClosed = false

  readonly pulled = this.#verb('pulled')
  readonly checked = this.#verb('checked')
  readonly confirmed = this.#verb('confirmed')
  readonly refused = this.#verb('refused')
  readonly saveReferrers = this.#verb('saveReferrers')
  readonly sealed = this.#verb('sealed')
  readonly verified = this.#verb('verified')
  readonly adopt = this.#verb('adopt')
  readonly used = this.#verb('used')
  readonly gone = this.#verb('gone')
  readonly pushed = this.#verb('pushed')
  readonly mount = this.#verb('mount')
  readonly lease = this.#verb('lease')
  readonly putManifest = this.#verb('putManifest')
  readonly deleteTag = this.#verb('deleteTag')
  readonly deleteManifest = this.#verb('deleteManifest')
  readonly deleteBlob = this.#verb('deleteBlob')
  readonly letGo = this.#verb('letGo')
  readonly evict = this.#verb('evict')
  readonly mayGo = this.#verb('mayGo')
  readonly removed = this.#verb('removed')
  readonly pin = this.#verb('pin')
  readonly unpin = this.#verb('unpin')
  readonly setFact = this.#verb('setFact')
  readonly beginUpload = this.#verb('beginUpload')
  readonly endUpload = this.#verb('endUpload')
  readonly wish = this.#verb('wish')
  readonly unwish = this.#verb('unwish')

  constructor(tables = new CatalogTables()) {
    this.tables = tables
  }

  async repository(repository: RepositoryKey): Promise<RepositoryRecord | undefined> {
    const known = this.tables.repositories.get(repository)
    return known && { refusedSince: known.refusedSince }
  }

  async repositories(page: PageOf<RepositoryKey> & { readonly origin?: string | undefined }) {
    const partsOf = (key: RepositoryKey) => ({ key, origin: originOf(key), name: nameOf(key) })
    const inOrder = by<ReturnType<typeof partsOf>>('origin', 'name')
    return [...this.tables.repositories.keys()]
      .map(partsOf)
      .filter((parts) => page.origin === undefined || parts.origin === page.origin)
      .filter((parts) => page.after === undefined || inOrder(parts, partsOf(page.after)) > 0)
      .toSorted(inOrder)
      .slice(0, page.limit)
      .map(({ key }) => key)
  }

  async listed({ origin, after, limit, part, ...times }: ListedAsked): Promise<ListedNames> {
    const names = [...this.tables.repositories.keys()]
      .filter((key) => originOf(key) === origin)
      .map(nameOf)
      .filter((name) => name > after)
      .toSorted()
      .slice(0, limit)
    return {
      names: names.filter(
        (name) => name.includes(part) && this.tables.isListed(repositoryKey(origin, name), times),
      ),
      last: names.length === limit ? names.at(-1) : undefined,
    }
  }

  async isPushed(repository: RepositoryKey): Promise<boolean> {
    return [...this.tables.holdings.values()].some(
      (held) => held.repository === repository && held.mediaType !== undefined && held.localAt !== undefined,
    )
  }

  async held(repository: RepositoryKey, digest: Digest): Promise<Holding | undefined> {
    const held = this.tables.holding(repository, digest)
    if (!held || !isEvidence(held)) return undefined
    const { repository: _, ...holding } = this.tables.withRefusal(held)
    return holding
  }

  async named(repository: RepositoryKey, digest: Digest) {
    const [first] = this.tables.namings(repository, digest)
    return first && { kind: first.kind, size: first.size }
  }

  async isFree(digest: Digest, times: RefusalTimes): Promise<boolean> {
    return this.tables.isFree(digest, times)
  }

  async localHolders(digest: Digest, limit: number): Promise<RepositoryKey[]> {
    const holders = this.tables.holdersOf(digest).filter(({ localAt }) => localAt !== undefined)
    return holders.slice(0, limit).map(({ repository }) => repository)
  }

  async keeping(digest: Digest, limit: number): Promise<RepositoryHolding[]> {
    const holders = this.tables.holdersOf(digest).filter(isKeeping)
    return holders.slice(0, limit).map((held) => this.tables.withRefusal(held))
  }

  async holders(digest: Digest, limit: number): Promise<RepositoryHolding[]> {
    const holders = this.tables
      .holdersOf(digest)
      .filter(({ repository }) => originOf(repository) !== localOrigin)
      .toReversed()
    const forAnyone = holders
      .filter(({ publicAt }) => publicAt !== undefined)
      .toSorted((one, other) => (other.publicAt ?? 0) - (one.publicAt ?? 0))
    const forAccount = holders
      .filter(({ publicAt, accountAt }) => publicAt === undefined && accountAt !== undefined)
      .toSorted((one, other) => (other.accountAt ?? 0) - (one.accountAt ?? 0))
    return [...forAnyone, ...forAccount].slice(0, limit).map((held) => this.tables.withRefusal(held))
  }

  async namers(digest: Digest, page: PageOf<RepositoryKey>) {
    const seen = await this.repositories(page)
    return {
      repositories: seen.filter(
        (repository) => originOf(repository) !== localOrigin && this.tables.needs(repository, digest),
      ),
      last: seen.length === page.limit ? seen.at(-1) : undefined,
    }
  }

  async manifest(repository: RepositoryKey, digest: Digest): Promise<ManifestRecord | undefined> {
    const bytes = this.tables.manifests.get(digest)
    const holders = [this.tables.holding(repository, digest), ...this.tables.holdersOf(digest)]
    const mediaType = holders.find((held) => held?.mediaType !== undefined)?.mediaType
    return bytes && mediaType !== undefined ? { digest, mediaType, bytes } : undefined
  }

  async tag(repository: RepositoryKey, tag: Tag): Promise<TagRecord | undefined> {
    const row = this.tables.tags.get(keyOf(repository, tag))
    return row && { digest: row.digest, checkedAt: row.checkedAt }
  }

  async tags(repository: RepositoryKey, { after, limit }: Partial<PageOf<Tag>> = {}): Promise<Tag[]> {
    return [...this.tables.tags.values()]
      .filter((row) => row.repository === repository && (after === undefined || row.name > after))
      .map(({ name }) => name)
      .toSorted()
      .slice(0, limit)
  }

  async referrers(repository: RepositoryKey, subject: Digest): Promise<ReferrersRecord | undefined> {
    return this.tables.referrers.get(keyOf(repository, subject))
  }

  async naming(
    repository: RepositoryKey,
    target: Digest,
    kind: ReferenceKind,
    { after, limit }: PageOf<Digest>,
  ): Promise<NamingManifest[]> {
    return this.tables
      .namings(repository, target)
      .filter((row) => row.kind === kind && (after === undefined || row.manifest > after))
      .slice(0, limit)
      .map(({ manifest, artifactType }) => ({ manifest, artifactType }))
  }

  async blob(digest: Digest): Promise<BlobRow | undefined> {
    const row = this.tables.blobs.get(digest)
    if (!row) return undefined
    const { digest: _, ...bytes } = row
    return { ...bytes, kept: this.tables.isKept(digest) }
  }

  async blobs({ after, limit }: PageOf<Digest>) {
    return [...this.tables.blobs.values()]
      .filter(({ digest }) => after === undefined || digest > after)
      .toSorted(by('digest'))
      .slice(0, limit)
      .map((row) => ({ ...row, kept: this.tables.isKept(row.digest) }))
  }

  async usage(): Promise<Usage> {
    const kept = this.tables.keptDigests()
    const totals = { cached: { blobs: 0, bytes: 0 }, kept: { blobs: 0, bytes: 0 } }
    for (const { digest, size } of this.tables.blobs.values()) {
      const total = totals[kept.has(digest) ? 'kept' : 'cached']
      total.blobs += 1
      total.bytes += size
    }
    return totals
  }

  async idle(before: number, { after, limit }: PageOf<IdleContent>): Promise<IdleContent[]> {
    return this.tables.idleBefore(before, after).slice(0, limit)
  }

  async removals({ after, limit }: PageOf<Digest>): Promise<Digest[]> {
    const behind = [...this.tables.removals].filter((one) => after === undefined || one > after)
    return behind.toSorted().slice(0, limit)
  }

  async leastRecent({
    before = Number.MAX_SAFE_INTEGER,
    after,
    limit,
  }: Parameters<Catalog['leastRecent']>[0]): Promise<CachedBlob[]> {
    const kept = this.tables.keptDigests()
    return this.tables
      .blobsBefore('usedAt', before)
      .filter((row) => after === undefined || by<typeof after>('usedAt', 'digest')(row, after) > 0)
      .filter(({ digest }) => !kept.has(digest))
      .slice(0, limit)
      .map(({ digest, size, usedAt, mtime }) => ({ digest, size, usedAt, fetchedAt: mtime }))
  }

  async unverified(before: number, limit: number): Promise<Digest[]> {
    const rows = this.tables.blobsBefore('verifiedAt', before).slice(0, limit)
    return rows.map(({ digest }) => digest)
  }

  async pins(): Promise<PinRecord[]> {
    const rows = [...this.tables.pins.values()].toSorted(by('origin', 'repository', 'tag'))
    return rows.map(({ pinnedAt, ...pattern }) => ({ pattern, pinnedAt }))
  }

  async fact(name: FactName): Promise<number | undefined> {
    return this.tables.facts.get(name)
  }

  async upload(id: string): Promise<UploadRecord | undefined> {
    return this.tables.uploads.get(id)
  }

  async staleUploads(before: number, limit: number): Promise<UploadRecord[]> {
    return [...this.tables.uploads.values()]
      .filter(({ touchedAt }) => touchedAt < before)
      .toSorted(by('touchedAt', 'id'))
      .slice(0, limit)
  }

  async wishes(): Promise<Wish[]> {
    return inOrder(this.tables)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true
  }

  #verb<Verb extends keyof CatalogVerbs>(verb: Verb): CatalogVerbs[Verb] {
    const run = async (...parameters: Parameters<CatalogVerbs[Verb]>) => {
      if (this.#isClosed) throw new Error('the catalog is closed')
      return (memoryVerbs[verb] as (tables: CatalogTables, ...parameters: unknown[]) => unknown)(
        this.tables,
        ...parameters,
      )
    }
    return run as CatalogVerbs[Verb]
  }
}
