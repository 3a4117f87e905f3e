import { type Digest, isDigest } from '../../oci/digest.ts'
import { isDigestReference, type Reference } from '../../oci/reference.ts'
import type { RepositoryName } from '../../oci/repository-name.ts'
import { UpstreamError } from '../error.ts'
import type { Answer, Link, Question } from '../question.ts'
import { claimedDigest } from '../response-headers.ts'
import type { Account } from '../tokens/account.ts'
import type { PublicKnowledge } from './knowledge.ts'
import type { PublicWitness } from './witness.ts'

/** Children of one index that are taken to be as public as it is. */
const maximumChildren = 1000

/** What to ask for with the account. */
export interface Located {
  readonly reference: Reference
  /** When anyone was told of it, in milliseconds of `performance.now`. */
  readonly toldAt: number
}

export interface PulledAnswer extends Answer {
  /** What the account was asked for because anyone was told of it: other bytes may be nobody else's. */
  readonly askedDigest: Digest | undefined
}

export interface AccountPullsOptions {
  /** Asks as the account where the question says so. */
  readonly registry: Link
  readonly asAnyone: Link
  readonly account: Pick<Account, 'isPaused'> | undefined
  readonly knowledge: PublicKnowledge
  readonly witness: PublicWitness
}

/** Pulls manifests on the account's quota, which is all that it is for: it gets the very one that anyone was told of. */
export class AccountPulls {
  readonly #options: AccountPullsOptions

  constructor(options: AccountPullsOptions) {
    this.#options = options
  }

  /**
   * What to ask for with the account in place of `reference`: the manifest that anyone gets. Undefined where that has
   * to be found out by a GET as anyone: there is no account, or HEAD has no answer. Throws UpstreamError where nobody
   * can tell: then nothing is fetched with the account.
   */
  async locate(
    reference: Reference,
    question: Omit<Question, 'method'>,
    isHeadUseful: boolean,
  ): Promise<Located | undefined> {
    const { account, asAnyone, knowledge, witness } = this.#options
    const { repository } = question
    if (!account || account.isPaused) return undefined
    const known = knowledge.told(repository, reference)
    if (known) return { reference: known.digest, toldAt: known.at }
    if (!isHeadUseful) return undefined
    const toldAt = performance.now()
    try {
      const answer = await asAnyone.request({ ...question, method: 'HEAD' })
      answer.discard()
      const digest = claimedDigest(answer)
      return digest && { reference: digest, toldAt }
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      // Anyone's quota is used up, which is what the account is for: the list of tags is the second witness.
      const isWitnessed = error.code === 'RATE_LIMITED' && (await witness.isListed(repository, question))
      if (isWitnessed) return { reference, toldAt }
      if (error.isRefusal || error.isOdd || error.isWorthRepeating) return undefined
      throw error
    }
  }

  /**
   * A GET with the account of what anyone was told of; as anyone of all else, and where the account is shut out or has
   * no quota left: anyone's is another. Either way the answer is what anyone gets, if it matches `askedDigest`.
   */
  async get(question: Omit<Question, 'method'>, located: Located | undefined): Promise<PulledAnswer> {
    const { registry, asAnyone } = this.#options
    if (located !== undefined) {
      try {
        const path = `manifests/${located.reference}`
        const answer = await registry.request({ ...question, method: 'GET', path, as: 'account' })
        const { reference } = located
        return { ...answer, as: 'anyone', askedDigest: isDigestReference(reference) ? reference : undefined }
      } catch (error) {
        const isOwn = error instanceof UpstreamError && (error.isRefusal || error.code === 'RATE_LIMITED')
        if (!isOwn) throw error
      }
    }
    return { ...(await asAnyone.request({ ...question, method: 'GET' })), askedDigest: undefined }
  }

  /** What an index lists is as public as the index was when anyone was told of it, and no longer. */
  noteChildren(repository: RepositoryName, bytes: Buffer, { toldAt }: Located): void {
    for (const digest of childrenOf(bytes))
      this.#options.knowledge.confirm(repository, digest, digest, toldAt)
  }
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
