import { isSetAside, matcherOf } from '../names/repository-patterns.ts'
import type { Digest } from '../oci/digest.ts'
import { isRepositoryName, type RepositoryName } from '../oci/repository-name.ts'
import { localOrigin, repositoryKey } from '../storage/repository-key.ts'
import { LocalRepository, type LocalStore } from './local-repository.ts'

export interface LocalRepositoriesOptions extends LocalStore {
  /** Which names can be pushed (`local.repositories`). */
  readonly patterns: readonly string[]
}

/** The repositories that were pushed here, and those that can be. */
export class LocalRepositories {
  /** Which names can be pushed. */
  readonly patterns: readonly string[]
  readonly #options: LocalRepositoriesOptions
  /** Whether a name can be pushed. */
  readonly isPushable: (name: string) => boolean
  readonly #isSetAside: (name: string) => boolean
  /** Whether names that begin with this part are set aside. */
  readonly #leadsSetAside: (part: string) => boolean

  constructor(options: LocalRepositoriesOptions) {
    this.#options = options
    this.patterns = options.patterns
    this.isPushable = matcherOf(options.patterns)
    const setAside = options.patterns.filter(isSetAside)
    this.#isSetAside = matcherOf(setAside)
    this.#leadsSetAside = matcherOf(setAside.map((pattern) => pattern.split('/', 1).join()))
  }

  /**
   * Whether a name means a repository of this mirror alone: whoever pushes means one wherever that is possible, whoever
   * pulls only while a manifest that was pushed is in it, also where it could not be pushed any more, or where it has this
   * very digest. A push that came to nothing does not take a name from its upstream, and the deletion of the last manifest
   * gives it back; that of the last tag does not. Names that a pattern such as `local/**` sets aside are never an
   * upstream's, which is not to hear what is worked on here.
   */
  async isMeant(
    name: string,
    { isPushing, digest }: { readonly isPushing: boolean; readonly digest: Digest | undefined },
  ): Promise<boolean> {
    if (!isRepositoryName(name)) return false
    const isPushable = this.isPushable(name)
    if ((isPushing && isPushable) || this.#isSetAside(name)) return true
    const { catalog } = this.#options
    const key = repositoryKey(localOrigin, name)
    if (await catalog.isPushed(key)) return true
    return isPushable && digest !== undefined && (await catalog.held(key, digest)) !== undefined
  }

  /** Whether something was pushed under a name, if only a blob: there may be a push under way. */
  async isKnown(name: RepositoryName): Promise<boolean> {
    return (await this.#options.catalog.repository(repositoryKey(localOrigin, name))) !== undefined
  }

  /** Whether a name, or the beginning of one, is this mirror's alone: nobody else is to hear it. */
  async isOwn(name: string): Promise<boolean> {
    const [leading = '', ...more] = name.split('/')
    if (this.#isSetAside(name) || (more.length > 0 && this.#leadsSetAside(leading))) return true
    return isRepositoryName(name) && this.isKnown(name)
  }

  /** The repository of this name; there need be nothing in it. */
  at(name: RepositoryName): LocalRepository {
    return new LocalRepository(this.#options, name, { isPushable: this.isPushable(name) })
  }
}
