import type { Digest } from '../../oci/digest.ts'
import type { RepositoryName } from '../../oci/repository-name.ts'
import { UpstreamError } from '../error.ts'
import { manifestQuery } from '../manifest-query.ts'
import type { Link } from '../question.ts'
import { claimedDigest } from '../response-headers.ts'
import { isPage } from '../web-page.ts'
import type { PublicKnowledge } from './knowledge.ts'

/** Second witnesses that a repository is public, where the question for what is in it says neither yes nor no. */
export class PublicWitness {
  readonly #asAnyone: Link
  readonly #knowledge: PublicKnowledge

  constructor(asAnyone: Link, knowledge: PublicKnowledge) {
    this.#asAnyone = asAnyone
    this.#knowledge = knowledge
  }

  /**
   * Takes the list of tags for a witness: whether anyone may list it, and no content was refused when that was last
   * asked. Never throws UpstreamError.
   */
  async isWitnessed(repository: RepositoryName): Promise<boolean> {
    const isListed = await this.isListed(repository)
    if (isListed) this.#knowledge.note(repository, true)
    return isListed
  }

  /** That anyone may not list the tags says nothing about what is in it, and neither does a list after a refusal. */
  async isListed(repository: RepositoryName): Promise<boolean> {
    try {
      const answer = await this.#asAnyone.request({ method: 'GET', repository, path: 'tags/list?n=1' })
      answer.discard()
      return !isPage(answer) && this.#knowledge.lastWord(repository)?.isPublic !== false
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      // To anyone there is no such repository.
      if (error.code === 'NOT_FOUND') this.#knowledge.note(repository, false)
      return false
    }
  }

  /** Resolves where anyone gets the manifest `digest` by GET, which may cost them a pull. Throws UpstreamError. */
  async assertGiven(repository: RepositoryName, digest: Digest): Promise<void> {
    const answer = await this.#asAnyone.request({ method: 'GET', repository, ...manifestQuery(digest) })
    answer.discard()
    if (claimedDigest(answer) === digest || !isPage(answer)) return
    throw new UpstreamError(
      'INVALID_RESPONSE',
      answer.url.host,
      'it answered with a page instead of a manifest',
    )
  }
}
