import type { Logger } from 'pino'
import type { Background } from '../flow/slots.ts'
import type { Digest } from '../oci/digest.ts'
import type { DocumentReader } from '../oci/document-reader.ts'
import { maximumManifestBytes, type ParsedManifest } from '../oci/manifest.ts'
import { isManifestMediaType } from '../oci/media-type.ts'
import { isDigestReference, type Reference, type Tag } from '../oci/reference.ts'
import type { Asker, Catalog, ManifestRecord, TagRecord } from '../storage/catalog.ts'
import { referencesOf } from '../storage/manifest-references.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { FetchedManifest } from '../upstream/fetched-manifest.ts'
import type { ManifestClaims } from '../upstream/manifest-query.ts'
import type { Asking } from '../upstream/question.ts'
import type { Answers } from './answers.ts'
import type { ClaimedTags } from './claimed-tags.ts'
import type { Evidence } from './evidence.ts'
import type { KeptManifests } from './kept-manifests.ts'
import { isOdd, unlessOdd } from './odd-answer.ts'
import { SharedQuestions } from './shared-questions.ts'
import { unlessSilent } from './unless-silent.ts'
import type { AnswerStatus, MirrorQuery, UpstreamRepository } from './upstream-repository.ts'
import { shownToAccount, verifyManifest } from './verified-manifest.ts'

export interface MirroredManifest extends ManifestRecord {
  /** Of the manifest, in bytes; there are no `bytes` where a HEAD has only the upstream's word. */
  readonly size: number
  readonly status: AnswerStatus
  /** Milliseconds since the epoch at which the upstream last confirmed the tag; undefined for a digest. */
  readonly checkedAt: number | undefined
}

export interface ManifestsOptions {
  readonly catalog: Catalog
  readonly kept: KeptManifests
  readonly claims: Pick<ClaimedTags, 'note' | 'take'>
  readonly evidence: Evidence
  readonly answers: Answers
  readonly documents: DocumentReader
  /** Milliseconds up to which a copy is served while the upstream fails (`cache.serveStale`). */
  readonly serveStaleMs: number
  /** Milliseconds that a client waits for the upstream while there is a copy (`cache.staleAfter`). */
  readonly staleAfterMs: number
  readonly logger: Logger
}

/**
 * Manifests by digest, which never expire, and by tag, which an upstream may move: a tag is trusted for a while,
 * then a HEAD decides, and where the upstream fails or is slow the copy is served and the check goes on behind.
 */
export class Manifests {
  readonly #options: ManifestsOptions
  readonly #questions = new SharedQuestions<MirroredManifest>()
  readonly #claiming = new SharedQuestions<ManifestClaims>()

  constructor(options: ManifestsOptions) {
    this.#options = options
  }

  /** Throws UpstreamError where the upstream's answer is needed and it refuses or fails. */
  async get(
    repository: UpstreamRepository,
    reference: Reference,
    query: MirrorQuery,
  ): Promise<MirroredManifest> {
    const { record, kept } = await this.#known(repository.key, reference)
    if (kept && record && !isDigestReference(reference)) {
      return this.#getKnownTag(repository, reference, { record, kept, ...query })
    }
    if (kept && query.isGiven) return served(kept, 'hit')
    await this.#options.answers.throwRefusal(repository.key, reference)
    const ask = (asking: Asking) =>
      kept ? this.#askFor(repository, kept, asking) : this.#fetch(repository, reference, asking)
    return this.#once(repository, reference, ask, query)
  }

  /**
   * What a HEAD tells. What is not here is fetched all the same: its copy saves the next client a round trip, and
   * answers when the line is cut. Where pulls are scarce the upstream's own HEAD answers, which costs none.
   */
  async head(
    repository: UpstreamRepository,
    reference: Reference,
    query: MirrorQuery,
  ): Promise<MirroredManifest> {
    const { upstream, key } = repository
    const isSpared = upstream.isQuotaScarce && upstream.shortcuts.isUseful('manifest-head')
    if (isSpared && !(await this.#known(key, reference)).kept) {
      const claimed = await this.#claimed(repository, reference, query)
      if (claimed) return claimed
    }
    return this.get(repository, reference, query)
  }

  /** What is here of a reference, whoever may have it. */
  async #known(
    key: RepositoryKey,
    reference: Reference,
  ): Promise<{ readonly record?: TagRecord | undefined; readonly kept?: ManifestRecord | undefined }> {
    const record = isDigestReference(reference) ? undefined : await this.#options.catalog.tag(key, reference)
    const digest = isDigestReference(reference) ? reference : record?.digest
    return { record, kept: digest && (await this.#options.kept.get(key, digest)) }
  }

  /** The upstream's own word for what is not here. */
  async #claimed(
    repository: UpstreamRepository,
    reference: Reference,
    asking: Asking,
  ): Promise<MirroredManifest | undefined> {
    const { upstream, name, key } = repository
    await this.#options.answers.throwRefusal(key, reference)
    const ask = (turn: Asking) => upstream.manifestClaims(name, reference, turn)
    const claims = await unlessOdd(this.#claiming.ask(`${key} ${reference}`, repository, ask, asking))
    const { digest, mediaType, size } = claims ?? {}
    if (!digest || !isManifestMediaType(mediaType) || !size || size > maximumManifestBytes) return undefined
    const head = { digest, mediaType, size, bytes: new Uint8Array(), status: 'miss' as const }
    if (isDigestReference(reference))
      return digest === reference ? { ...head, checkedAt: undefined } : undefined
    this.#options.claims.note(key, digest, reference)
    return { ...head, checkedAt: Date.now() }
  }

  async #getKnownTag(
    repository: UpstreamRepository,
    tag: Tag,
    { record, kept, isGiven, ...asking }: { record: TagRecord; kept: ManifestRecord } & MirrorQuery,
  ): Promise<MirroredManifest> {
    const { answers, evidence, staleAfterMs, serveStaleMs, logger } = this.#options
    const { key, name, upstream } = repository
    if (isGiven && (await answers.isFresh(key, tag))) return served(kept, 'hit', record.checkedAt)
    await answers.throwRefusal(key, tag)
    let behind: Background | undefined
    const check = (asking: Asking) =>
      this.#revalidate(repository, tag, kept, () => ({ ...asking, background: behind ?? asking.background }))
    if (!isGiven || Date.now() - record.checkedAt > serveStaleMs)
      return this.#once(repository, tag, check, asking)
    const stale = served(kept, 'stale', record.checkedAt)
    // Those who came before have asked, and look whether it is there.
    if (upstream.isSilent) return stale
    // Whoever leaves does not end it: with a copy to go on with, it is the mirror that wants to know.
    const checking = this.#once(repository, tag, check, { ...asking, signal: undefined })
    try {
      const checked = await unlessSilent(repository, checking, { forMs: staleAfterMs, signal: asking.signal })
      // From now on nobody waits for it.
      if (!checked) behind = 'revalidation'
      return checked ?? stale
    } catch (error) {
      if (!(error instanceof UpstreamError) || error.isRefusal) throw error
      // Another question of the same check may have been refused.
      if ((await evidence.refusedSince(repository)) !== undefined) throw error
      const about = { upstream: upstream.name, repository: name, reference: tag, reason: error.message }
      logger.info(about, 'upstream failed: serving the copy')
      return stale
    }
  }

  /**
   * Whether the tag still points at what we have: by a HEAD, which costs no quota. Only a digest is an answer to it;
   * after anything else, also a refusal of what we hold, a GET decides, and HEAD is left out for a while.
   */
  async #revalidate(
    repository: UpstreamRepository,
    tag: Tag,
    kept: ManifestRecord,
    asking: () => Asking,
  ): Promise<MirroredManifest> {
    const { upstream, name } = repository
    const isHeadUseful = upstream.shortcuts.isUseful('manifest-head')
    const told = isHeadUseful ? await unlessOdd(upstream.manifestDigest(name, tag, asking())) : undefined
    let current = kept.digest
    let fetched: MirroredManifest | undefined
    if (told !== kept.digest) {
      const changed = upstream.changedManifest(name, tag, kept.digest, asking())
      const answer = await this.#asked(repository, tag, asking(), changed)
      fetched = answer && (await this.#record(repository, tag, answer))
      current = fetched?.digest ?? kept.digest
    }
    if (told === current) upstream.shortcuts.worked('manifest-head')
    else if (isHeadUseful) upstream.shortcuts.failed('manifest-head')
    if (fetched) return fetched
    const asked = { as: 'anyone' as const, at: Date.now() }
    const isRecorded = await this.#options.evidence.checked(repository, tag, kept.digest, asked)
    if (isRecorded) await this.#options.answers.confirm(repository.key, tag)
    else await this.#given(repository, kept, { tag })
    return served(kept, 'revalidated', asked.at)
  }

  /**
   * Whether this repository has what is here by way of another one, or had before it was refused: by a HEAD, which costs
   * no quota. Where that says nothing, or is not known to be right there, a GET decides.
   */
  async #askFor(
    repository: UpstreamRepository,
    kept: ManifestRecord,
    asking: Asking,
  ): Promise<MirroredManifest> {
    const { upstream, name } = repository
    const { shortcuts } = upstream
    const isDecisive = shortcuts.isProven('manifest-head')
    if (shortcuts.isUseful('manifest-head')) {
      const telling = upstream.manifestDigest(name, kept.digest, asking)
      const told = await (isDecisive ? this.#asked(repository, kept.digest, asking, telling) : telling).catch(
        (error) => {
          // Anyone's quota is used up: the account's may tell.
          const isLimited =
            error instanceof UpstreamError && error.code === 'RATE_LIMITED' && upstream.hasAccount
          if (isLimited || isOdd(error, isDecisive)) return undefined
          throw error
        },
      )
      if (told === kept.digest) {
        shortcuts.worked('manifest-head')
        await this.#given(repository, kept)
        return served(kept, 'revalidated')
      }
    }
    return this.#fetch(repository, kept.digest, asking)
  }

  async #fetch(
    repository: UpstreamRepository,
    reference: Reference,
    asking: Asking,
  ): Promise<MirroredManifest> {
    const telling = repository.upstream.manifest(repository.name, reference, asking)
    return this.#record(repository, reference, await this.#asked(repository, reference, asking, telling))
  }

  /** The upstream's answer; a refusal is remembered. */
  async #asked<Answer>(
    repository: UpstreamRepository,
    reference: Reference,
    asking: Asking,
    answer: Promise<Answer>,
  ): Promise<Answer> {
    try {
      return await answer
    } catch (error) {
      await this.#options.answers.rememberRefusal(repository.key, reference, error)
      await this.#options.evidence.heard(repository, error, asking)
      throw error
    }
  }

  async #record(
    repository: UpstreamRepository,
    reference: Reference,
    fetched: FetchedManifest,
  ): Promise<MirroredManifest> {
    const { key, upstream } = repository
    const { documents } = this.#options
    const { manifest, parsed } = await verifyManifest(documents, upstream.name, reference, fetched)
    const isTag = !isDigestReference(reference)
    const tag = isTag ? reference : await this.#claimedTag(key, manifest.digest)
    const at = await this.#given(repository, manifest, { parsed, tag, as: fetched.as })
    this.#options.kept.set(key, manifest)
    if (fetched.as !== 'anyone') throw shownToAccount(repository)
    return served(manifest, 'miss', isTag ? at : undefined)
  }

  /** Its upstream has a manifest, be it that its bytes came or that they are here. Returns when that was written down. */
  async #given(
    repository: UpstreamRepository,
    manifest: ManifestRecord,
    { parsed, as = 'anyone', tag }: { parsed?: ParsedManifest; as?: Asker; tag?: Tag | undefined } = {},
  ): Promise<number> {
    const { evidence, answers, documents } = this.#options
    const read = parsed ?? (await documents.read('manifest', manifest.bytes, manifest.mediaType))
    const at = Date.now()
    const shown = as === 'anyone' ? tag : undefined
    await evidence.pulled(repository, manifest, { as, at, tag: shown, references: referencesOf(read) })
    if (shown !== undefined) await answers.confirm(repository.key, shown)
    return at
  }

  /** The manifest of a claim has come: its tag is known, unless it was confirmed since, perhaps as another one. */
  async #claimedTag(key: RepositoryKey, digest: Digest): Promise<Tag | undefined> {
    const claim = this.#options.claims.take(key, digest)
    if (!claim) return undefined
    const known = await this.#options.catalog.tag(key, claim.tag)
    return !known || known.checkedAt < claim.at ? claim.tag : undefined
  }

  /** Asks once for all who ask for the same; those who come later are told that they joined. */
  async #once(
    repository: UpstreamRepository,
    reference: Reference,
    question: (asking: Asking) => Promise<MirroredManifest>,
    asking: Asking,
  ): Promise<MirroredManifest> {
    const key = `${repository.key} ${reference}`
    const isJoining = this.#questions.has(key)
    const answer = await this.#questions.ask(key, repository, question, asking)
    return isJoining && answer.status === 'miss' ? { ...answer, status: 'joined' } : answer
  }
}

function served(manifest: ManifestRecord, status: AnswerStatus, checkedAt?: number): MirroredManifest {
  return { ...manifest, size: manifest.bytes.length, status, checkedAt }
}
