import { type Digest, isDigest } from '../oci/digest.ts'
import type { Reference } from '../oci/reference.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import type { TransportResponse } from './connections/exchange.ts'
import { UpstreamError } from './error.ts'
import { PublicKnowledge, type PublicWord } from './public-knowledge.ts'
import type { RegistryConnection, RegistryQuery } from './registry-connection.ts'
import { claimedDigest } from './response-headers.ts'

/** Children of one index that are taken to be as public as it is. */
const maximumChildren = 1000
/** Some registries show their lists to nobody and what is in them to everybody, others the other way round. */
const listPath = /^(?:tags|referrers)\//

/** What to ask for with the account. */
export interface Located {
  readonly reference: Reference
  /** When anyone was told of it, in milliseconds of `performance.now`. */
  readonly toldAt: number
}

/**
 * Asks an upstream as anyone, whatever account there is: what everybody may read is found out by asking for it. The
 * account is for the quota of manifests alone, and it gets the very manifest that anyone was told of.
 */
export class PublicQuestions {
  readonly #connection: RegistryConnection
  readonly #knowledge: PublicKnowledge

  /** `periodMs`: milliseconds for which an answer holds (`cache.revalidate`). */
  constructor(connection: RegistryConnection, periodMs: number) {
    this.#connection = connection
    this.#knowledge = new PublicKnowledge(periodMs)
  }

  /**
   * Sends a question as anyone; see `RegistryConnection.request`. Where there is an account, which may see more, a
   * refusal says so.
   */
  async request(
    method: 'GET' | 'HEAD',
    query: RegistryQuery,
    countsAsPull = false,
  ): Promise<TransportResponse> {
    if (!this.#connection.account) return this.#connection.request(method, query, countsAsPull)
    const { repository, path } = query
    try {
      const response = await this.#connection.request(method, query, countsAsPull)
      this.#noteAnswer(repository, path, response)
      return response
    } catch (error) {
      if (!(error instanceof UpstreamError && error.isRefusal)) throw error
      // A registry that redirects to storage has said yes, whatever storage says.
      const isOfStorage = error.isElsewhere && path.startsWith('blobs/')
      if (error.code === 'NOT_FOUND' || isOfStorage) throw error
      if (!listPath.test(path)) this.#knowledge.note(repository, false)
      throw this.#privateError(repository, error)
    }
  }

  /** What the upstream last told anyone about a repository; undefined where it was not asked, or there is no account. */
  lastWord(repository: RepositoryName): PublicWord | undefined {
    return this.#knowledge.lastWord(repository)
  }

  /** Reminds of a word that was written down, where there was none since. */
  recall(repository: RepositoryName, word: PublicWord): void {
    if (this.#connection.account) this.#knowledge.recall(repository, word)
  }

  /**
   * What to ask for with the account in place of `reference`: the manifest that anyone gets. Undefined where that has
   * to be found out by a GET as anyone: there is no account, or HEAD has no answer. Throws UpstreamError where nobody
   * can tell: then nothing is fetched with the account.
   */
  async locate(
    reference: Reference,
    query: RegistryQuery,
    isHeadUseful: boolean,
  ): Promise<Located | undefined> {
    const { account } = this.#connection
    if (!account || account.isPaused) return undefined
    const known = this.#knowledge.told(query.repository, reference)
    if (known) return { reference: known.digest, toldAt: known.at }
    if (!isHeadUseful) return undefined
    const toldAt = performance.now()
    try {
      const response = await this.request('HEAD', query)
      response.discard()
      const digest = claimedDigest(response)
      return digest && { reference: digest, toldAt }
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      // Anyone's quota is used up, which is what the account is for: the list of tags is the second witness.
      const isWitnessed = error.code === 'RATE_LIMITED' && (await this.#isListed(query.repository))
      if (isWitnessed) return { reference, toldAt }
      if (error.isRefusal || /^(?:INVALID_RESPONSE|SERVER_ERROR|UNREACHABLE)$/.test(error.code))
        return undefined
      throw error
    }
  }

  /**
   * A GET with the account of what anyone was told of; as anyone of all else, and where the account is shut out or has
   * no quota left: anyone's is another.
   */
  async get(query: RegistryQuery, countsAsPull: boolean, located?: Located): Promise<TransportResponse> {
    if (located !== undefined) {
      try {
        const asAccount = { ...query, path: `manifests/${located.reference}`, as: 'account' } as const
        return await this.#connection.request('GET', asAccount, countsAsPull)
      } catch (error) {
        const isOwn = error instanceof UpstreamError && (error.isRefusal || error.code === 'RATE_LIMITED')
        if (!isOwn) throw error
      }
    }
    return this.request('GET', query, countsAsPull)
  }

  /**
   * Takes the list of tags for a witness that the repository is public, where its content says neither yes nor no:
   * whether anyone may list it, and no content was refused when that was last asked. Never throws UpstreamError.
   */
  async isWitnessed(repository: RepositoryName): Promise<boolean> {
    const isListed = await this.#isListed(repository)
    if (isListed) this.#knowledge.note(repository, true)
    return isListed
  }

  /** Resolves where anyone gets the manifest `digest` by a GET. Throws UpstreamError. */
  async assertGiven(query: RegistryQuery, digest: Digest): Promise<void> {
    const response = await this.request('GET', query, true)
    response.discard()
    if (claimedDigest(response) === digest || !isPage(response)) return
    throw new UpstreamError(
      'INVALID_RESPONSE',
      response.url.host,
      'it answered with a page instead of a manifest',
    )
  }

  /** What an index lists is as public as the index was when anyone was told of it, and no longer. */
  noteChildren(repository: RepositoryName, bytes: Buffer, { toldAt }: Located): void {
    for (const digest of childrenOf(bytes)) this.#knowledge.confirm(repository, digest, digest, toldAt)
  }

  /** That anyone may not list the tags says nothing about what is in it, and neither does a list after a refusal. */
  async #isListed(repository: RepositoryName): Promise<boolean> {
    try {
      const response = await this.request('GET', { repository, path: 'tags/list?n=1' })
      response.discard()
      return !isPage(response) && this.lastWord(repository)?.isPublic !== false
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      // To anyone there is no such repository.
      if (error.code === 'NOT_FOUND') this.#knowledge.note(repository, false)
      return false
    }
  }

  #noteAnswer(repository: RepositoryName, path: string, response: TransportResponse): void {
    if (isPage(response) || listPath.test(path)) return
    this.#knowledge.note(repository, true)
    const [, reference] = /^manifests\/(.+)$/.exec(path) ?? []
    const digest = claimedDigest(response)
    if (reference !== undefined && digest) this.#knowledge.confirm(repository, reference, digest)
  }

  #privateError(repository: RepositoryName, cause: UpstreamError): UpstreamError {
    const { upstream, status } = cause
    const message = this.#connection.account?.isRefused
      ? `it gives ${repository} to nobody without a login, and refuses the configured user name and password`
      : `${repository} is private, or there is no such repository; this mirror serves only what everybody may read: pull it from ${upstream} itself`
    return new UpstreamError(cause.code, upstream, message, {
      cause,
      ...(status === undefined ? {} : { status }),
    })
  }
}

/** A web page is no answer of a registry, but of the network on the way. */
function isPage({ headers }: TransportResponse): boolean {
  return /html/i.test(headers['content-type'] ?? '') && headers.location === undefined
}

/** The digests that an index lists; none where it is something else. */
function childrenOf(bytes: Buffer): Digest[] {
  let document: unknown
  try {
    document = JSON.parse(bytes.toString())
  } catch {
    return []
  }
  if (typeof document !== 'object' || document === null || !('manifests' in document)) return []
  const { manifests } = document
  const listed: unknown[] = Array.isArray(manifests) ? manifests.slice(0, maximumChildren) : []
  return listed.flatMap((entry) => {
    const digest = typeof entry === 'object' && entry !== null && 'digest' in entry ? entry.digest : undefined
    return typeof digest === 'string' && isDigest(digest) ? [digest] : []
  })
}
