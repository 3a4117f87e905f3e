import type { RepositoryName } from '../../oci/repository-name.ts'
import { UpstreamError } from '../error.ts'
import type { PublicKnowledge } from '../public/knowledge.ts'
import type { Answer, Link, Question } from '../question.ts'
import { claimedDigest } from '../response-headers.ts'
import type { Account } from '../tokens/account.ts'
import { isPage } from '../web-page.ts'

/** Some registries show their lists to nobody and what is in them to everybody, others the other way round. */
const listPath = /^(?:tags|referrers)\//

/**
 * Asks as anyone, whatever account there is: what everybody may read is found out by asking for it. Where there is an
 * account, which may see more, it remembers what anyone was told, and a refusal says that it is about anyone.
 */
export class AsAnyone implements Link {
  readonly #next: Link
  readonly #account: Pick<Account, 'isRefused'> | undefined
  readonly #knowledge: PublicKnowledge

  constructor(next: Link, account: Pick<Account, 'isRefused'> | undefined, knowledge: PublicKnowledge) {
    this.#next = next
    this.#account = account
    this.#knowledge = knowledge
  }

  async request(question: Question): Promise<Answer> {
    const asked: Question = { ...question, as: 'anyone' }
    if (!this.#account) return this.#next.request(asked)
    const { repository, path } = question
    try {
      const answer = await this.#next.request(asked)
      this.#note(question, answer)
      return answer
    } catch (error) {
      if (!(error instanceof UpstreamError && error.isWithheld)) throw error
      // A registry that redirects to storage has said yes, whatever storage says.
      if (error.isElsewhere && path.startsWith('blobs/')) throw error
      if (!listPath.test(path)) this.#knowledge.note(repository, 'refused')
      throw privateError(repository, error, this.#account.isRefused)
    }
  }

  #note({ repository, path }: Question, answer: Answer): void {
    if (isPage(answer) || listPath.test(path)) return
    this.#knowledge.note(repository, 'given')
    const [, reference] = /^manifests\/(.+)$/.exec(path) ?? []
    const digest = claimedDigest(answer)
    if (reference !== undefined && digest) this.#knowledge.confirm(repository, reference, digest)
  }
}

function privateError(
  repository: RepositoryName,
  cause: UpstreamError,
  isAccountRefused: boolean,
): UpstreamError {
  const { upstream, status, code } = cause
  const message = isAccountRefused
    ? `it gives ${repository} to nobody without a login, and refuses the configured user name and password`
    : `${repository} is private, or there is no such repository; this mirror serves only what everybody may read: pull it from ${upstream} itself`
  return new UpstreamError(code, upstream, message, { cause, ...(status === undefined ? {} : { status }) })
}
