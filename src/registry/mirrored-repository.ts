import { noneIfBroken } from '../content/file-checks.ts'
import type { OpenedBlob } from '../content/opened-blob.ts'
import { untilSilent } from '../mirror/unless-silent.ts'
import type { UpstreamRepository } from '../mirror/upstream-repository.ts'
import type { Digest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { PageQuery } from '../oci/page-query.ts'
import { neededRanges } from '../oci/range.ts'
import { isDigestReference, type Reference } from '../oci/reference.ts'
import { filterReferrers, pageOfReferrers } from '../oci/referrers.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import { type RepositoryKey, repositoryKey } from '../storage/repository-key.ts'
import type { Wish } from '../storage/wishes.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { RegistryClient } from '../upstream/registry-client.ts'
import { BlobSource } from './blob-source.ts'
import type { Mirror } from './mirror.ts'
import type {
  AskBlobOptions,
  AskOptions,
  Repository,
  ServedBlob,
  ServedBlobStat,
  ServedManifest,
  ServedReferrers,
  ServedTagPage,
  WantedReferrers,
} from './repository.ts'
import type { Right } from './rights.ts'
import { UnconfirmedReader } from './unconfirmed-reader.ts'

/**
 * A repository of an upstream. What it has a right to give is given, wherever its bytes came from; for everything else
 * its own upstream is asked, as anyone, and nothing is given before the yes.
 */
export class MirroredRepository implements Repository {
  readonly key: RepositoryKey
  readonly name: RepositoryName
  readonly push = undefined
  readonly #mirror: Mirror
  readonly #source: UpstreamRepository
  readonly #isPushable: boolean

  /** `isPushable`: whoever asks may push under this name, and nothing was pushed yet. */
  constructor(
    mirror: Mirror,
    upstream: RegistryClient,
    name: RepositoryName,
    { isPushable = false }: { readonly isPushable?: boolean } = {},
  ) {
    this.#isPushable = isPushable
    this.key = repositoryKey(upstream.name, name)
    this.name = name
    this.#mirror = mirror
    this.#source = { key: this.key, name, upstream }
  }

  get upstream(): string {
    return this.#source.upstream.name
  }

  async manifest(
    reference: Reference,
    { isHead, ...asking }: AskOptions & { readonly isHead: boolean },
  ): Promise<ServedManifest> {
    const { rights, manifests } = this.#mirror
    const isDigest = isDigestReference(reference)
    const right = isDigest ? await rights.gives(this.key, reference) : undefined
    const isUnrefused = right !== undefined || (await this.#isUnrefused())
    // What a tag points at is the upstream's to say: while it refuses, what it said before is not enough.
    const isGiven = isDigest ? right !== undefined : isUnrefused
    try {
      const manifest = await manifests[isHead ? 'head' : 'get'](this.#source, reference, {
        isGiven,
        ...asking,
      })
      const { client } = asking
      if (client !== undefined) this.#mirror.readAhead.served(this.#source, manifest, { client, isHead })
      return { ...manifest, doubt: this.#doubt(right) }
    } catch (error) {
      // Whoever is about to push wants nothing of it.
      if (!isHead || !this.#isPushable) this.#wantLater({ reference, kind: 'manifest' }, error, asking)
      throw isHead ? this.#toPusher(error, reference) : error
    }
  }

  async blob(digest: Digest, { signal, client, since, ranges: asked }: AskBlobOptions): Promise<ServedBlob> {
    const { blobs, rights, answers, blobQuestions, catalog, readAhead } = this.#mirror
    const isAhead = client !== undefined && readAhead.asked(digest, client)
    const right = await rights.gives(this.key, digest)
    const doubt = this.#doubt(right)
    const stored = right && (await blobs.openStored(digest).catch(noneIfBroken))
    if (stored) return { reader: stored, status: 'hit', isAhead, doubt }
    const isUnrefused = await this.#isUnrefused()
    await answers.throwRefusal(this.key, digest)
    const size = (await catalog.named(this.key, digest))?.size
    const source = new BlobSource(this.#source, digest, (error) => {
      // Also where it is left for good later, when nobody waits for it any more.
      this.#wantLater({ reference: digest, kind: 'blob' }, error, { client })
      return blobQuestions.failed(this.#source, digest, error)
    })
    const ranges = asked && neededRanges(asked, size)
    const wanted = { size, ranges, client, since, signal }
    const opening = blobs.open(digest, source, wanted)
    const { reader, status, confirmedBy } = size === undefined ? await this.#inTime(opening) : await opening
    const confirm = async (): Promise<void> => {
      // (1) A fill begins with this upstream's yes. (2) It refuses the repository. (3) Somebody joins the fill: the yes
      // of before the refusal is none for him, and takes back nothing.
      const isConfirmed = source.hasAnswered || (isUnrefused && confirmedBy.has(this.key))
      const isKnown = right?.by === 'held' && isUnrefused
      if (isConfirmed && !isKnown) await blobQuestions.sent(this.#source, digest)
      else if (!right) await blobQuestions.assertHas(this.#source, digest, { signal, client })
    }
    // Nobody's upstream has answered yet, and the size that a manifest told lets the headers leave: clients do not wait
    // for them as long as for bytes.
    const isWaiting = !right && size !== undefined && confirmedBy.size === 0
    if (isWaiting && status !== 'hit' && !reader.isVerified) {
      return { reader: new UnconfirmedReader(reader, confirm), status, isAhead, doubt }
    }
    try {
      await confirm()
    } catch (error) {
      await reader[Symbol.asyncDispose]()
      throw error
    }
    return { reader, status, isAhead, doubt }
  }

  /** Of a blob of which nothing is known the headers cannot leave before its upstream has answered. */
  async #inTime(opening: Promise<OpenedBlob>): Promise<OpenedBlob> {
    try {
      return await untilSilent(this.#source, opening)
    } catch (error) {
      // Where it comes after all, nobody reads it here.
      opening.then(({ reader }) => reader[Symbol.asyncDispose]()).catch(() => {})
      throw error
    }
  }

  async blobStat(digest: Digest, { signal, client }: AskOptions): Promise<ServedBlobStat> {
    const { blobs, rights, answers, blobQuestions, catalog } = this.#mirror
    const right = await rights.gives(this.key, digest)
    const stored = await blobs.stat(digest, { signal }).catch(noneIfBroken)
    const isStored = stored !== undefined
    const size = stored?.size ?? (right && (await catalog.named(this.key, digest))?.size)
    if (right && size !== undefined) return { size, isStored, doubt: this.#doubt(right) }
    if (!right) await this.#isUnrefused()
    await answers.throwRefusal(this.key, digest, 'HEAD')
    if (isStored) await blobQuestions.assertHas(this.#source, digest, { method: 'HEAD', signal, client })
    const told = isStored ? size : await blobQuestions.size(this.#source, digest, { signal, client })
    return { size: told, isStored, doubt: this.#doubt(right) }
  }

  async tags(page: PageQuery, asking: AskOptions): Promise<ServedTagPage> {
    const isGiven = await this.#isUnrefused()
    return this.#mirror.tagLists.list(this.#source, page, { isGiven, ...asking })
  }

  async referrers(
    subject: Digest,
    { artifactTypes, from }: WantedReferrers,
    asking: AskOptions,
  ): Promise<ServedReferrers> {
    const isGiven = await this.#isUnrefused()
    const list = await this.#mirror.referrers.list(this.#source, subject, { isGiven, ...asking })
    return { ...list, ...pageOfReferrers(filterReferrers(list.referrers, artifactTypes), from) }
  }

  async forget(reference: Reference, asking: AskOptions): Promise<boolean> {
    const isKnown = await this.#mirror.forgetting.reference(this.#source, reference)
    if (isKnown) this.#logForgotten({ reference }, asking)
    return isKnown
  }

  async forgetBlob(digest: Digest, asking: AskOptions): Promise<boolean> {
    const { blobs, forgetting } = this.#mirror
    const isKnown = await forgetting.blob(this.#source, digest, (condition) =>
      blobs.remove(digest, condition),
    )
    if (isKnown) this.#logForgotten({ digest }, asking)
    return isKnown
  }

  /** What a client could not have because of an outage, or left while its upstream said nothing, is fetched later. */
  #wantLater(what: Pick<Wish, 'reference' | 'kind'>, error: unknown, { client, signal }: AskOptions): void {
    const { wanted, readAhead, claims } = this.#mirror
    if (client === undefined || !wanted) return
    const by = { platform: readAhead.platformOf(client), client }
    const { reference, kind } = what
    // Whoever was told this digest for a tag wants the tag.
    const told = kind === 'manifest' && isDigestReference(reference) && claims.tag(this.key, reference)
    const thing = { repository: this.key, kind, reference: told || reference }
    if (signal?.aborted && this.#source.upstream.isSilent) wanted.note(thing, by)
    else wanted.failed(thing, error, by)
  }

  /**
   * Clients ask by HEAD what is under the tag that they are about to push, and give up on anything but yes and no. An
   * upstream that cannot be reached keeps nobody from pushing here; who pulls asks by GET next, and hears the reason.
   */
  #toPusher(error: unknown, reference: Reference): unknown {
    if (!this.#isPushable || !(error instanceof UpstreamError) || !error.isOutage) return error
    const message = `nothing was pushed here as ${this.name}:${reference}, and its upstream cannot tell: ${error.message}`
    return new RegistryError('MANIFEST_UNKNOWN', message, { cause: error })
  }

  #logForgotten(what: object, { client }: AskOptions): void {
    const about = { client, upstream: this.upstream, repository: this.name, ...what }
    this.#mirror.logger.info(about, 'forgotten: its upstream is asked when somebody wants it')
  }

  /** Also reminds the upstream of a refusal, before it is asked. */
  async #isUnrefused(): Promise<boolean> {
    return (await this.#mirror.evidence.refusedSince(this.#source)) === undefined
  }

  #doubt(right: Right | undefined): string | undefined {
    if (right?.refusedSince === undefined) return undefined
    const since = new Date(right.refusedSince).toISOString()
    return `${this.upstream} has given this repository to nobody without a login since ${since}; what was public before is served for a while`
  }
}
