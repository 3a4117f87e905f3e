import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import { delay } from '../flow/abortable.ts'
import { bestEffort } from '../flow/best-effort.ts'
import { SingleFlight } from '../flow/single-flight.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { maximumManifestBytes } from '../oci/manifest.ts'
import { isManifestMediaType } from '../oci/media-type.ts'
import { isDigestReference, type Reference, type Tag } from '../oci/reference.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import type { Catalog, ManifestRecord, RepositoryId, TagRecord } from '../storage/catalog.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { FetchedManifest, RegistryClient } from '../upstream/registry-client.ts'
import type { Freshness } from './freshness.ts'
import { isDigestOf, verifyManifest } from './verified-manifest.ts'

/** How an answer came about; sent as `X-Larder-Cache`. */
export type CacheStatus = 'hit' | 'joined' | 'miss' | 'revalidated' | 'stale'

/** A repository and the client that asks its upstream. */
export interface MirroredRepository {
  readonly upstream: RegistryClient
  readonly name: RepositoryName
}

export interface ServedManifest extends ManifestRecord {
  readonly status: CacheStatus
  /** Milliseconds since the epoch at which the upstream last confirmed the tag; undefined for a digest. */
  readonly checkedAt: number | undefined
}

/** What is told of a manifest to a HEAD; there are no `bytes` where the upstream's word is all that is known. */
export interface ServedHead extends ServedManifest {
  /** Of the manifest, in bytes. */
  readonly size: number
}

export interface ManifestsOptions {
  readonly catalog: Catalog
  readonly freshness: Freshness
  /** Milliseconds up to which a copy is served while the upstream fails (`cache.serveStale`). */
  readonly serveStaleMs: number
  /** Milliseconds that a client waits for the upstream while there is a copy (`cache.staleAfter`). */
  readonly staleAfterMs: number
  readonly logger: Logger
}

const memoryBytes = 32 * 1024 * 1024
/** Tags of which only the digest is known, and milliseconds in which whoever asked by HEAD comes for the manifest. */
const claims = { max: 1000, ttl: 60_000 }

/**
 * Manifests by digest, which never expire, and by tag, which an upstream may move: a tag is trusted for a while,
 * then a HEAD decides, and where the upstream fails or is slow the copy is served and the check goes on behind.
 */
export class Manifests {
  readonly #options: ManifestsOptions
  readonly #fetching = new SingleFlight<string, ServedManifest>()
  readonly #memory = new LRUCache<string, ManifestRecord>({
    maxSize: memoryBytes,
    sizeCalculation: ({ bytes }) => bytes.length + 500,
  })

  /** What an upstream's HEAD said of a tag, and when (milliseconds since the epoch), by the digest. */
  readonly #claims = new LRUCache<string, { tag: Tag; at: number }>(claims)

  constructor(options: ManifestsOptions) {
    this.#options = options
  }

  /** Throws UpstreamError where the upstream's answer is needed and it refuses or fails. */
  async get(repository: MirroredRepository, reference: Reference): Promise<ServedManifest> {
    const id = idOf(repository)
    if (isDigestReference(reference)) {
      const kept = await this.#kept(id, reference)
      if (kept) return { ...kept, status: 'hit', checkedAt: undefined }
    } else {
      const record = await this.#options.catalog.tag(id, reference)
      const kept = record && (await this.#kept(id, record.digest))
      if (kept) return this.#getKnownTag(repository, reference, record, kept)
    }
    await this.#options.freshness.throwRemembered(id, reference)
    return this.#once(id, reference, () => this.#fetch(repository, reference))
  }

  /**
   * What a HEAD tells. What is not here is fetched all the same: its copy saves the next client a round trip, and
   * answers when the line is cut. Where pulls are scarce the upstream's own HEAD answers, which costs none.
   */
  async head(repository: MirroredRepository, reference: Reference): Promise<ServedHead> {
    const { upstream } = repository
    const isSpared = upstream.isQuotaScarce && upstream.shortcuts.isUseful('manifest-head')
    if (isSpared && !(await this.#isHere(repository, reference))) {
      const claimed = await this.#claimed(repository, reference)
      if (claimed) return claimed
    }
    const manifest = await this.get(repository, reference)
    return { ...manifest, size: manifest.bytes.length }
  }

  async #isHere(repository: MirroredRepository, reference: Reference): Promise<boolean> {
    const id = idOf(repository)
    const digest = isDigestReference(reference)
      ? reference
      : (await this.#options.catalog.tag(id, reference))?.digest
    return digest !== undefined && (await this.#kept(id, digest)) !== undefined
  }

  /** Nothing of a claim is kept but which tag it was about, until the manifest of that digest has come. */
  async #claimed(repository: MirroredRepository, reference: Reference): Promise<ServedHead | undefined> {
    const { upstream, name } = repository
    const id = idOf(repository)
    await this.#options.freshness.throwRemembered(id, reference)
    const claims = await unlessOdd(upstream.manifestClaims(name, reference))
    const { digest, mediaType, size } = claims ?? {}
    if (!digest || !isManifestMediaType(mediaType) || !size || size > maximumManifestBytes) return undefined
    const head = { digest, mediaType, size, bytes: new Uint8Array(), status: 'miss' as const }
    if (isDigestReference(reference))
      return digest === reference ? { ...head, checkedAt: undefined } : undefined
    this.#claims.set(memoryKey(id, digest), { tag: reference, at: Date.now() })
    return { ...head, checkedAt: Date.now() }
  }

  async #getKnownTag(
    repository: MirroredRepository,
    tag: Tag,
    record: TagRecord,
    kept: ManifestRecord,
  ): Promise<ServedManifest> {
    const { freshness, staleAfterMs, serveStaleMs, logger } = this.#options
    const id = idOf(repository)
    if (await freshness.isFresh(id, tag)) return { ...kept, status: 'hit', checkedAt: record.checkedAt }
    await freshness.throwRemembered(id, tag)
    const check = this.#once(id, tag, () => this.#revalidate(repository, tag, kept))
    if (Date.now() - record.checkedAt > serveStaleMs) return check
    const stale: ServedManifest = { ...kept, status: 'stale', checkedAt: record.checkedAt }
    try {
      return await Promise.race([check, delay(staleAfterMs).then(() => stale)])
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.isRefusal) throw error
      logger.info({ repository: keyOf(id), tag, reason: error.message }, 'upstream failed: serving the copy')
      return stale
    }
  }

  /**
   * Whether the tag still points at what we have: by a HEAD, which costs no quota. Only a digest is an answer to it;
   * after anything else, also a refusal of what we hold, a GET decides, and HEAD is left out for a while.
   */
  async #revalidate(repository: MirroredRepository, tag: Tag, kept: ManifestRecord): Promise<ServedManifest> {
    const { upstream, name } = repository
    const id = idOf(repository)
    const isHeadUseful = upstream.shortcuts.isUseful('manifest-head')
    const told = isHeadUseful ? await unlessOdd(upstream.manifestDigest(name, tag)) : undefined
    let current = kept.digest
    let fetched: ServedManifest | undefined
    if (told !== kept.digest) {
      const answer = await this.#asked(id, tag, upstream.changedManifest(name, tag, kept.digest))
      fetched = answer && (await this.#record(id, tag, answer))
      current = fetched?.digest ?? kept.digest
    }
    if (told === current) upstream.shortcuts.worked('manifest-head')
    else if (isHeadUseful) upstream.shortcuts.failed('manifest-head')
    return fetched ?? { ...kept, status: 'revalidated', checkedAt: await this.#confirm(id, tag, kept.digest) }
  }

  async #fetch({ upstream, name }: MirroredRepository, reference: Reference): Promise<ServedManifest> {
    const id = { upstream: upstream.name, name }
    return this.#record(id, reference, await this.#asked(id, reference, upstream.manifest(name, reference)))
  }

  /** The upstream's answer; a refusal is remembered. */
  async #asked<Answer>(id: RepositoryId, reference: Reference, asking: Promise<Answer>): Promise<Answer> {
    try {
      return await asking
    } catch (error) {
      await this.#options.freshness.rememberRefusal(id, reference, error)
      throw error
    }
  }

  async #record(id: RepositoryId, reference: Reference, fetched: FetchedManifest): Promise<ServedManifest> {
    const { manifest, parsed } = verifyManifest(id.upstream, reference, fetched)
    await this.#recorded(this.#options.catalog.saveManifest(id, manifest, parsed.blobs))
    this.#memory.set(memoryKey(id, manifest.digest), manifest)
    if (!isDigestReference(reference)) {
      return { ...manifest, status: 'miss', checkedAt: await this.#confirm(id, reference, manifest.digest) }
    }
    await this.#settleClaim(id, reference)
    return { ...manifest, status: 'miss', checkedAt: undefined }
  }

  /** The manifest of a claim has come: the tag is known, unless it was confirmed since, perhaps as another one. */
  async #settleClaim(id: RepositoryId, digest: Digest): Promise<void> {
    const claim = this.#claims.get(memoryKey(id, digest))
    this.#claims.delete(memoryKey(id, digest))
    if (!claim) return
    const known = await this.#options.catalog.tag(id, claim.tag)
    if (!known || known.checkedAt < claim.at) await this.#confirm(id, claim.tag, digest)
  }

  /** Runs `operation` once for all who ask for the same; those who come later are told that they joined. */
  async #once(
    id: RepositoryId,
    reference: Reference,
    operation: () => Promise<ServedManifest>,
  ): Promise<ServedManifest> {
    const key = `${keyOf(id)} ${reference}`
    const isJoining = this.#fetching.has(key)
    const served = await this.#fetching.run(key, operation)
    return isJoining && served.status === 'miss' ? { ...served, status: 'joined' } : served
  }

  async #confirm(id: RepositoryId, tag: Tag, digest: Digest): Promise<number> {
    const checkedAt = Date.now()
    await this.#recorded(this.#options.catalog.saveTag(id, tag, { digest, checkedAt }))
    await this.#options.freshness.confirm(id, tag)
    return checkedAt
  }

  /** A disk that takes no more writes is no reason to keep an answer back that we have. */
  async #recorded(writing: Promise<void>): Promise<void> {
    await bestEffort(writing, (error) =>
      this.#options.logger.error({ err: error }, 'the catalog could not be written: answering all the same'),
    )
  }

  async #kept(id: RepositoryId, digest: Digest): Promise<ManifestRecord | undefined> {
    const key = memoryKey(id, digest)
    const inMemory = this.#memory.get(key)
    if (inMemory) return inMemory
    const { catalog, logger } = this.#options
    const record = await catalog.manifest(id, digest)
    if (!record) return undefined
    if (!isIntact(record)) {
      logger.error({ digest }, 'a stored manifest no longer matches its digest: asking the upstream again')
      return undefined
    }
    this.#memory.set(key, record)
    return record
  }
}

function isIntact({ digest, bytes, mediaType }: ManifestRecord): boolean {
  try {
    return isDigestOf(digest, bytes, mediaType)
  } catch (error) {
    if (error instanceof RegistryError) return false
    throw error
  }
}

/** The key of a mirrored repository in the catalog. */
export function idOf({ upstream, name }: MirroredRepository): RepositoryId {
  return { upstream: upstream.name, name }
}

/** What a HEAD found; undefined where its answer decides nothing. Throws UpstreamError on an outage. */
async function unlessOdd<Answer>(asking: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await asking
  } catch (error) {
    const isAnswer = error instanceof UpstreamError && (!error.isOutage || error.code === 'SERVER_ERROR')
    if (!isAnswer) throw error
    return undefined
  }
}

function keyOf({ upstream, name }: RepositoryId): string {
  return `${upstream}/${name}`
}

function memoryKey(id: RepositoryId, digest: Digest): string {
  return `${keyOf(id)} ${digest}`
}
