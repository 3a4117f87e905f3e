import type { Turn } from '../flow/slots.ts'
import type { Uplink } from '../flow/uplink.ts'
import type { Digest } from '../oci/digest.ts'
import type { DocumentReader } from '../oci/document-reader.ts'
import { manifestMediaTypes, parseMediaType } from '../oci/media-type.ts'
import type { Reference, Tag } from '../oci/reference.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import { BlobDownloads } from './blob-downloads.ts'
import { assertBlob, type BlobQuestion, blobSize } from './blob-stat.ts'
import { AsAnyone } from './chain/as-anyone.ts'
import type { Limits } from './chain/within-limits.ts'
import { UpstreamError } from './error.ts'
import type { BlobQuery, FetchedBlob } from './fetched-blob.ts'
import type { FetchedManifest } from './fetched-manifest.ts'
import { type ManifestClaims, manifestQuery } from './manifest-query.ts'
import { nextPage } from './next-page.ts'
import { AccountPulls } from './public/account-pulls.ts'
import { PublicKnowledge } from './public/knowledge.ts'
import { PublicWitness } from './public/witness.ts'
import type { Answer, Asking, Question } from './question.ts'
import { QuestionTurns } from './question-turns.ts'
import { isScarce, type RateLimit } from './rate-limit.ts'
import { type FoundReferrers, readReferrerPages } from './referrer-pages.ts'
import type { RegistryCheck } from './registry-check.ts'
import { RegistryConnection, type RegistryConnectionOptions } from './registry-connection.ts'
import { claimedDigest, contentLength } from './response-headers.ts'
import { Shortcuts } from './shortcuts.ts'
import { type SmallAnswer, SmallAnswers } from './small-answers.ts'

export interface RegistryClientOptions extends RegistryConnectionOptions {
  /** Milliseconds for which "anyone may read it" holds (`cache.revalidate`). */
  readonly revalidateMs: number
  readonly uplink: Uplink
  /** Blobs that come at a time (`limits.downloads`). */
  readonly downloads: number
  /** See `BlobDownloadsOptions` and `QuestionTurnsOptions`. */
  readonly turnMs?: number | undefined
  readonly documents: DocumentReader
  /** See `SmallAnswersOptions`. */
  readonly readMs?: number | undefined
}

export interface TagPage {
  readonly tags: readonly Tag[]
  /** The query of the next page, as the upstream wrote it; undefined where this is the last one. */
  readonly next: string | undefined
}

const notModified = 304

/**
 * Asks one upstream registry (distribution-spec "Pull", "Listing Tags") for what everybody may read; an account gets
 * a larger quota, and nothing else. Every method throws UpstreamError; the answers are verified by whoever keeps them.
 */
export class RegistryClient implements AsyncDisposable {
  /** Such as docker.io. */
  readonly name: string
  /** Milliseconds without a sign of life after which nobody waits any more (`limits.patience`). */
  readonly patienceMs: number
  /** Which questions are no use here. */
  readonly shortcuts = new Shortcuts()
  /** Whose turn it is to ask. Whoever asks takes one for all that comes of a question, its record included. */
  readonly turns: QuestionTurns
  readonly #url: URL
  readonly #connection: RegistryConnection
  readonly #downloads: BlobDownloads
  readonly #knowledge: PublicKnowledge
  readonly #anyone: AsAnyone
  readonly #witness: PublicWitness
  readonly #pulls: AccountPulls
  readonly #small: SmallAnswers
  readonly #documents: DocumentReader

  constructor(options: RegistryClientOptions) {
    this.name = options.name
    this.patienceMs = options.patienceMs
    this.turns = new QuestionTurns({ upstream: options.name, turnMs: options.turnMs })
    this.#url = options.url
    this.#documents = options.documents
    const parts = { ...options, upstream: options.name }
    const registry = new RegistryConnection(options)
    const { account } = registry
    const knowledge = new PublicKnowledge(options.revalidateMs)
    const asAnyone = new AsAnyone(registry, account, knowledge)
    this.#connection = registry
    const atStorage = (question: Question, storage: URL) => registry.requestStorage({ ...question, storage })
    this.#downloads = new BlobDownloads(asAnyone, { ...parts, atStorage, early: registry.early })
    this.#knowledge = knowledge
    this.#anyone = asAnyone
    this.#witness = new PublicWitness(asAnyone, knowledge)
    this.#pulls = new AccountPulls({ registry, asAnyone, account, knowledge, witness: this.#witness })
    this.#small = new SmallAnswers({ ...parts, isReachable: () => registry.isReachable })
  }

  /** The quota that the upstream last told of, if it tells. */
  get rateLimit(): RateLimit | undefined {
    return this.#connection.rateLimit
  }

  /** Whether less than half of its quota of pulls is left, as far as it tells. */
  get isQuotaScarce(): boolean {
    return isScarce(this.rateLimit)
  }

  /** What it lets us ask. */
  get limits(): Limits {
    return this.#connection.limits
  }

  /** Whether it answered when it was last needed. */
  get isReachable(): boolean {
    return this.#connection.isReachable
  }

  /** Whether nobody need wait for it who has a copy: it cannot be reached, or was asked and has said nothing for a second. */
  get isSilent(): boolean {
    return this.#connection.isSilent
  }

  /** Calls `listener` when it falls silent, now where it is. Returns what ends that. */
  whenSilent(listener: () => void): () => void {
    return this.#connection.whenSilent(listener)
  }

  /** What happened so far: answers by `METHOD kind status`, tokens, and bytes of blobs that crossed the line. */
  get counters(): { requests: ReadonlyMap<string, number>; tokens: number; blobBytes: number } {
    const { counts, tokensFetched: tokens } = this.#connection
    return { requests: counts.byKind, tokens, blobBytes: this.#downloads.bytes }
  }

  /** Whether there is an account, which may see more than everybody. */
  get hasAccount(): boolean {
    return this.#connection.account !== undefined
  }

  /** Whether the account was refused when it was last tried; undefined where there is none. */
  get isAccountRefused(): boolean | undefined {
    return this.#connection.account?.isRefused
  }

  /** Finds out what answers where the upstream should be, and whether it takes the account. Never throws. */
  async check(): Promise<RegistryCheck> {
    return this.#connection.check()
  }

  /** Closes the connections that nobody uses at the moment. */
  dropIdle(): void {
    this.#connection.dropIdle()
  }

  /** Whether anyone was refused it when what is in a repository was last asked for. Never without an account. */
  isRefused(repository: RepositoryName): boolean {
    return this.#knowledge.lastWord(repository) === 'refused'
  }

  /** Reminds it of a refusal that was written down, as after a restart: it stands until something is given again. */
  recallRefusal(repository: RepositoryName): void {
    if (this.hasAccount) this.#knowledge.recallRefusal(repository)
  }

  /** Whether there is no such repository to anyone, as its list of tags tells, or what is in it is refused. */
  async isGone(repository: RepositoryName, asking: Asking = {}): Promise<boolean> {
    return this.#witness.isGone(repository, asking)
  }

  /** GET of a manifest (end-3), after anyone was told of it where there is an account. At most 4 MiB are read. */
  async manifest(
    repository: RepositoryName,
    reference: Reference,
    asking: Asking = {},
  ): Promise<FetchedManifest> {
    void this.#connection.early.pullBegins(repository)
    return this.#getManifest(reference, { repository, ...manifestQuery(reference), ...asking })
  }

  /**
   * GET of a manifest unless it is `known` (RFC 9110 13.1.2); undefined where the upstream says that it is. Tried
   * once: there is a copy to go on with.
   */
  async changedManifest(
    repository: RepositoryName,
    reference: Reference,
    known: Digest,
    asking: Asking = {},
  ): Promise<FetchedManifest | undefined> {
    const { path, headers } = manifestQuery(reference)
    const query = { repository, path, headers: { ...headers, 'if-none-match': `"${known}"` }, ...asking }
    try {
      return await this.#getManifest(reference, query, 0)
    } catch (error) {
      if (error instanceof UpstreamError && error.status === notModified) return undefined
      throw error
    }
  }

  /** HEAD of a manifest (end-3), free of Docker Hub's quota; undefined where the answer tells no digest. */
  async manifestDigest(
    repository: RepositoryName,
    reference: Reference,
    asking: Asking = {},
  ): Promise<Digest | undefined> {
    return (await this.manifestClaims(repository, reference, asking)).digest
  }

  /** What a HEAD of a manifest claims of it; each undefined where the answer does not tell. */
  async manifestClaims(
    repository: RepositoryName,
    reference: Reference,
    { signal }: Asking = {},
  ): Promise<ManifestClaims> {
    const question = { repository, ...manifestQuery(reference), signal }
    const answer = await this.#anyone.request({ ...question, method: 'HEAD' })
    answer.discard()
    const mediaType = parseMediaType(answer.headers['content-type'])
    return { digest: claimedDigest(answer), mediaType, size: contentLength(answer) }
  }

  /** A blob's turn among those that come from here at a time, to be given back once. Rejects with the reason of `signal`. */
  blobTurn(turn: Turn, signal: AbortSignal): Promise<Disposable> {
    return this.#downloads.turn(turn, signal)
  }

  /** Milliseconds of a round trip to an origin, or else to the registry itself; undefined where nobody knows yet. */
  roundTripMs(origin?: string): number | undefined {
    return this.#connection.roundTripMs(origin)
  }

  /**
   * GET of a part of a blob (end-2) when there is a connection for it, at storage where `address` knows it. Tried
   * once; the fill that needs it knows when to try again.
   */
  async blob(repository: RepositoryName, digest: Digest, options: BlobQuery): Promise<FetchedBlob> {
    return this.#downloads.open(repository, digest, options)
  }

  /** Whether the repository has the blob (end-2). A redirect to its bytes says so. */
  async hasBlob(repository: RepositoryName, digest: Digest, asking: Asking = {}): Promise<boolean> {
    try {
      await assertBlob((question) => this.#askBlob(repository, digest, question, asking), digest)
      return true
    } catch (error) {
      if (error instanceof UpstreamError && error.isMissing) return false
      throw error
    }
  }

  /** The size of a blob that it has, in bytes (end-2); undefined where nobody tells. */
  async blobSize(
    repository: RepositoryName,
    digest: Digest,
    asking: Asking = {},
  ): Promise<number | undefined> {
    return blobSize((question) => this.#askBlob(repository, digest, question, asking), digest)
  }

  /** A page of the repository's tags (end-8). `query` as the client or the page before has it, without "?". */
  async tags(repository: RepositoryName, query: string, asking: Asking = {}): Promise<TagPage> {
    const path = `tags/list${query === '' ? '' : `?${query}`}`
    const { answer, bytes } = await this.#getList({ repository, path, ...asking })
    const next = nextPage(answer, { upstream: this.name, base: this.#url, path: '/tags/list', query })
    const list = await this.#small.parsed(answer, this.#documents.read('tags', bytes))
    return { ...list, next }
  }

  /**
   * The manifests that refer to `subject`, page by page (end-12), without a filter. Throws UpstreamError also where
   * the upstream knows no such question.
   */
  async referrers(
    repository: RepositoryName,
    subject: Digest,
    { signal }: Asking = {},
  ): Promise<FoundReferrers> {
    const headers = { accept: manifestMediaTypes.ociIndex }
    return readReferrerPages(this.name, async (query) => {
      const path = `referrers/${subject}${query === '' ? '' : `?${query}`}`
      const { answer, bytes } = await this.#getList({ repository, path, headers, signal })
      const referrers = await this.#small.parsed(answer, this.#documents.read('referrers', bytes))
      const asked = { upstream: this.name, base: this.#url, path: `/referrers/${subject}`, query }
      return { referrers, bytes: bytes.length, next: () => nextPage(answer, asked) }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection[Symbol.asyncDispose]()
  }

  async #getManifest(
    reference: Reference,
    question: Omit<Question, 'method'>,
    retries?: number,
  ): Promise<FetchedManifest> {
    const located = await this.#pulls.locate(reference, question, this.shortcuts.isUseful('manifest-head'))
    const { answer, bytes } = await this.#small.get(
      () => this.#pulls.get(question, located),
      question,
      retries,
    )
    if (located) this.#pulls.noteChildren(question.repository, bytes, located)
    const contentType = answer.headers['content-type']
    const { as, askedDigest } = answer
    return { bytes, contentType, claimedDigest: claimedDigest(answer), askedDigest, as }
  }

  #getList(question: Omit<Question, 'method'>): Promise<SmallAnswer> {
    return this.#small.get(() => this.#anyone.request({ ...question, method: 'GET' }), question)
  }

  #askBlob(
    repository: RepositoryName,
    digest: Digest,
    { method, isFirstByte, keepRedirect }: BlobQuestion,
    { signal }: Asking,
  ): Promise<Answer> {
    const headers: Record<string, string> = isFirstByte ? { range: 'bytes=0-0' } : {}
    return this.#anyone.request({
      method,
      repository,
      path: `blobs/${digest}`,
      headers,
      keepRedirect,
      signal,
    })
  }
}
