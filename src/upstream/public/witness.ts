import type { RepositoryName } from '../../oci/repository-name.ts'
import { UpstreamError } from '../error.ts'
import type { Asking, Link } from '../question.ts'
import { isPage } from '../web-page.ts'
import type { PublicKnowledge } from './knowledge.ts'

/** The list of tags, a second witness that a repository is public where the question for its content says neither. */
export class PublicWitness {
  readonly #asAnyone: Link
  readonly #knowledge: PublicKnowledge

  constructor(asAnyone: Link, knowledge: PublicKnowledge) {
    this.#asAnyone = asAnyone
    this.#knowledge = knowledge
  }

  /** Whether there is no such repository to anyone, as far as its list tells. Never throws UpstreamError. */
  async isGone(repository: RepositoryName, asking: Asking = {}): Promise<boolean> {
    return !(await this.isListed(repository, asking)) && this.#knowledge.lastWord(repository) === 'refused'
  }

  /**
   * Whether anyone may list it, and no content was refused when that was last asked. That anyone may not says nothing
   * about what is in it, unless it is not found. Never throws UpstreamError.
   */
  async isListed(repository: RepositoryName, { signal }: Asking = {}): Promise<boolean> {
    try {
      const question = { repository, path: 'tags/list?n=1', signal }
      const answer = await this.#asAnyone.request({ ...question, method: 'GET' })
      answer.discard()
      return !isPage(answer) && this.#knowledge.lastWord(repository) !== 'refused'
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      if (error.isMissing) this.#knowledge.note(repository, 'refused')
      return false
    }
  }
}
