import type { Logger } from 'pino'
import { bestEffort } from '../flow/best-effort.ts'
import type { Expiring, OpenExpiring } from '../flow/expiring.ts'
import { lruCache } from '../flow/lru-cache.ts'
import { tellSeldom } from '../flow/seldom.ts'
import type { Digest } from '../oci/digest.ts'
import type { Tag } from '../oci/reference.ts'
import type { Asked, Catalog, Holding, ManifestRecord, ManifestReference } from '../storage/catalog.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { Asking } from '../upstream/question.ts'
import type { UpstreamRepository } from './upstream-repository.ts'

export interface EvidenceOptions {
  readonly catalog: Catalog
  readonly expiring: OpenExpiring
  /** Milliseconds for which it is believed that a repository is there for everybody (`cache.revalidate`). */
  readonly revalidateMs: number
  readonly logger: Logger
}

/** Digests, and repositories, that are remembered while the disk takes no writes. */
const maximumUnwritten = 10_000
/** Digests, and milliseconds. A refusal is in `#words` at once; what changes by another way is seen after that. */
const [maximumRecent, recentMs] = [10_000, 1000]
const witnessBudget = { entries: 10_000, bytes: 4 * 1024 * 1024 }

/**
 * What upstreams have said that their repositories hold, to whom, and what they refuse since: the catalog's records of
 * it, each written when its upstream says so. A disk that takes no more writes is no reason to keep an answer back: what
 * could not be written is remembered as long as this process lives.
 */
export class Evidence {
  readonly #options: EvidenceOptions
  /** When its upstream gave it to anyone, in milliseconds since the epoch, by repository and digest. */
  readonly #unwritten = lruCache<string, number>(maximumUnwritten)
  /** What anyone is given, as it was read a moment ago: one who is asked for all the time need not look each time. */
  readonly #recent = lruCache<string, Holding>(maximumRecent, { ttl: recentMs, noUpdateTTL: true })
  /** The last word about a repository where the catalog may not have it: given, or refused since. */
  readonly #words = lruCache<RepositoryKey, number | 'given'>(maximumUnwritten)
  /** Repositories whose list of tags anyone was shown a while ago. */
  readonly #listed: Expiring<true>

  constructor(options: EvidenceOptions) {
    this.#options = options
    this.#listed = options.expiring('listed', witnessBudget)
  }

  /** What is known of a digest in a repository. */
  async held(repository: RepositoryKey, digest: Digest): Promise<Holding | undefined> {
    const own = `${repository} ${digest}`
    const written = this.#recent.get(own) ?? (await this.#options.catalog.held(repository, digest))
    if (written?.publicAt !== undefined && written.refusedSince === undefined) this.#recent.set(own, written)
    const publicAt = this.#unwritten.get(own)
    const holding = written ?? (publicAt === undefined ? undefined : {})
    if (!holding) return undefined
    return {
      ...holding,
      publicAt: holding.publicAt ?? publicAt,
      refusedSince: this.#lastWord(repository, holding.refusedSince),
    }
  }

  /**
   * Since when a repository has been refused to anyone, in milliseconds since the epoch; undefined where it is not, or
   * there is no account, without which nothing comes in that anyone is refused. The upstream is reminded of it: until
   * its content is given again no list is a witness that it is public.
   */
  async refusedSince({ key, name, upstream }: UpstreamRepository): Promise<number | undefined> {
    if (!upstream.hasAccount) return undefined
    const record = await this.#options.catalog.repository(key)
    const since = this.#lastWord(key, record?.refusedSince)
    if (since !== undefined) upstream.recallRefusal(name)
    return since
  }

  /** Its upstream gave a manifest, perhaps under this tag: both are written down at once. */
  async pulled(
    { key }: UpstreamRepository,
    manifest: ManifestRecord,
    given: Asked & { readonly tag?: Tag | undefined; readonly references: readonly ManifestReference[] },
  ): Promise<void> {
    await this.#given(key, manifest.digest, given, this.#options.catalog.pulled(key, manifest, given))
  }

  /**
   * Its upstream says that a tag still points at a manifest that is here. False where nothing is known of the manifest in
   * this repository: it is to be recorded as pulled.
   */
  async checked({ key }: UpstreamRepository, tag: Tag, digest: Digest, asked: Asked): Promise<boolean> {
    const checking = this.#options.catalog.checked(key, tag, digest, asked)
    await this.#given(key, digest, asked, checking)
    return checking.catch(() => true)
  }

  /** Its upstream says that the repository has this. */
  async confirmed({ key }: UpstreamRepository, digest: Digest, asked: Asked): Promise<void> {
    await this.#given(key, digest, asked, this.#options.catalog.confirmed(key, digest, asked))
  }

  /** What the catalog was told to forget is not remembered here either. */
  forget(repository: RepositoryKey, digest: Digest): void {
    this.#recent.delete(`${repository} ${digest}`)
    this.#unwritten.delete(`${repository} ${digest}`)
  }

  /**
   * Hears how an upstream failed to answer about content as anyone. A refusal is written down of the whole repository,
   * as is a "not found" where the list of tags, the second witness, is not found either.
   */
  async heard(repository: UpstreamRepository, error: unknown, asking: Asking): Promise<void> {
    const { upstream, name } = repository
    // Storage that the registry redirects to refuses nobody a repository.
    if (!upstream.hasAccount || !(error instanceof UpstreamError) || error.isElsewhere) return
    // It refused one of its questions, and failed to answer the one that would have decided.
    const wasRefused = error.isOutage && upstream.isRefused(name)
    const isRefused = error.isMissing ? await this.#isGone(repository, asking) : error.isWithheld
    if (wasRefused || isRefused) await this.#refused(repository)
  }

  async #refused({ key, name, upstream }: UpstreamRepository): Promise<void> {
    const at = Date.now()
    const known = this.#words.get(key)
    if (known === undefined || known === 'given') this.#words.set(key, at)
    const { catalog, logger } = this.#options
    const refusing = catalog.refused(key, at).then((isNew) => {
      if (!isNew) return
      const message =
        'the upstream gives this repository to nobody without a login any more: it turned private'
      logger.warn({ upstream: upstream.name, repository: name }, message)
    })
    await this.#write(refusing)
  }

  async #isGone({ key, name, upstream }: UpstreamRepository, asking: Asking): Promise<boolean> {
    const record = await this.#options.catalog.repository(key)
    if (!record || this.#lastWord(key, record.refusedSince) !== undefined) return false
    if (await this.#listed.get(key)) return false
    if (await upstream.isGone(name, asking)) return true
    await this.#listed.set(key, true, this.#options.revalidateMs)
    return false
  }

  async #given(
    key: RepositoryKey,
    digest: Digest,
    { as, at }: Asked,
    writing: Promise<unknown>,
  ): Promise<void> {
    const isWritten = await this.#write(writing)
    if (as !== 'anyone') return
    const own = `${key} ${digest}`
    if (isWritten) {
      this.#unwritten.delete(own)
      this.#words.delete(key)
    } else {
      this.#unwritten.set(own, at)
      this.#words.set(key, 'given')
    }
  }

  async #write(writing: Promise<unknown>): Promise<boolean> {
    let isWritten = true
    await bestEffort(writing, (error) => {
      isWritten = false
      tellSeldom(
        this.#options.logger,
        'error',
        { err: error },
        'the catalog could not be written: answering all the same',
      )
    })
    return isWritten
  }

  #lastWord(key: RepositoryKey, written: number | undefined): number | undefined {
    const word = this.#words.get(key)
    return word === 'given' ? undefined : (written ?? word)
  }
}
