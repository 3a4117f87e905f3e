import type Keyv from 'keyv'
import type { Logger } from 'pino'
import { idOf, type MirroredRepository } from '../cache/manifests.ts'
import { bestEffort } from '../flow/best-effort.ts'
import { SingleFlight } from '../flow/single-flight.ts'
import type { Catalog, RepositoryId } from '../storage/catalog.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { RegistryClient } from '../upstream/registry-client.ts'

export interface VisibilityOptions {
  readonly catalog: Catalog
  readonly cache: Keyv
  /** For each upstream with credentials, a client of it without them, by its name. */
  readonly anonymous: ReadonlyMap<string, RegistryClient>
  /** Milliseconds for which an answer is trusted. */
  readonly revalidateMs: number
  readonly logger: Logger
}

/**
 * Keeps what only the operator's account may read from everybody else. An upstream that is asked with credentials
 * shows more than the public: a repository is private until an anonymous question shows that it is public, and
 * that is asked again from time to time.
 */
export class Visibility {
  readonly #options: VisibilityOptions
  readonly #asking = new SingleFlight<string, boolean>()

  constructor(options: VisibilityOptions) {
    this.#options = options
  }

  /**
   * Returns where everybody may read the repository. Throws UpstreamError UNAUTHORIZED where not, and the upstream's
   * failure where that was never found out.
   */
  async assertPublic(repository: MirroredRepository): Promise<void> {
    const { upstream, name } = repository
    const anonymous = this.#options.anonymous.get(upstream.name)
    // Without credentials there is nothing that an anonymous client could not read as well.
    if (!anonymous) return
    const key = `public ${upstream.name}/${name}`
    const kept = await this.#options.cache.get<boolean>(key).catch(() => undefined)
    const isPublic = kept ?? (await this.#asking.run(key, () => this.#ask(repository, anonymous, key)))
    if (isPublic) return
    const message = `${name} is private, and this mirror serves only what everybody may read: pull it from ${upstream.name} itself`
    throw new UpstreamError('UNAUTHORIZED', upstream.name, message)
  }

  async #ask(repository: MirroredRepository, anonymous: RegistryClient, key: string): Promise<boolean> {
    const { catalog, cache, revalidateMs } = this.#options
    const id = idOf(repository)
    let isPublic: boolean
    try {
      // It costs no quota, and tells of the whole repository.
      await anonymous.tags(repository.name, 'n=1')
      isPublic = true
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      const known = error.isRefusal ? false : await catalog.isPublic(id)
      if (known === undefined) throw error
      if (!error.isRefusal) return known
      isPublic = false
    }
    await this.#record(id, isPublic)
    if (revalidateMs > 0) await cache.set(key, isPublic, revalidateMs).catch(() => false)
    return isPublic
  }

  /** Names that never were anything else than refused leave no trace: whoever makes them up could fill the disk. */
  async #record(id: RepositoryId, isPublic: boolean): Promise<void> {
    const { catalog, logger } = this.#options
    if (!isPublic && (await catalog.isPublic(id)) === undefined) return
    await bestEffort(catalog.savePublic(id, isPublic), (error) =>
      logger.error({ err: error }, 'the catalog could not be written: answering all the same'),
    )
  }
}
