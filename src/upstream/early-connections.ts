import type { RepositoryName } from '../oci/repository-name.ts'
import { idleMs } from './connections/kept-ms.ts'
import type { Transport } from './connections/transport.ts'

export interface EarlyConnectionsOptions {
  /** Where the upstream lies. */
  readonly url: URL
  /** Where a token would have to be got, for a repository or for none in particular; undefined where none is needed. */
  readonly tokenService: (repository: RepositoryName | undefined) => Promise<URL | undefined>
  /** Whether the upstream answered when it was last needed; nothing is opened while it did not. */
  readonly isReachable: () => boolean
  /** Connections to storage at a time, used or not (`limits.connections`). */
  readonly connections: number
}

/** Milliseconds for which a connection waits for the pull that it was opened for. */
const pullMs = 30_000
/** The config and layers follow on a manifest: clients ask for three at a time, and what is small is fetched ahead of them. */
const sparesOfPull = 5
/** To the registry: the one that asks for the manifest as well. */
const connectionsOfPull = 1 + sparesOfPull

/**
 * Opens connections before they are needed, each of which costs two round trips or three: to the token service as soon as it
 * is known, to the registry and to storage when a pull begins, to storage when a blob turns out to lie there.
 */
export class EarlyConnections {
  readonly #transport: Pick<Transport, 'prepare' | 'isFar'>
  readonly #options: EarlyConnectionsOptions
  /** Where blobs last came from. */
  #storage: URL | undefined

  constructor(transport: Pick<Transport, 'prepare' | 'isFar'>, options: EarlyConnectionsOptions) {
    this.#transport = transport
    this.#options = options
  }

  /** The upstream has said what it wants of us. */
  async introduced(): Promise<void> {
    await this.#prepareTokens(undefined, idleMs)
  }

  /** A manifest is asked for that is not here: blobs will be. Never rejects. */
  async pullBegins(repository: RepositoryName): Promise<void> {
    const { url, connections } = this.#options
    if (!this.#isOpen) return
    this.#transport.prepare(url, { free: connectionsOfPull, most: connectionsOfPull, forMs: pullMs })
    if (this.#storage)
      this.#transport.prepare(this.#storage, { free: sparesOfPull, most: connections, forMs: pullMs })
    await this.#prepareTokens(repository, pullMs)
  }

  /** A blob lies at `url`, as a redirect says that may be followed, and so many connections to it are about to be needed. */
  storageFound(url: URL, free: number): void {
    const origin = new URL(url.origin)
    this.#storage = origin
    if (this.#isOpen)
      this.#transport.prepare(origin, { free, most: this.#options.connections, forMs: pullMs })
  }

  async #prepareTokens(repository: RepositoryName | undefined, forMs: number): Promise<void> {
    if (!this.#isOpen) return
    // What holds tokens is asked, and may fail: then one is fetched as if there were none.
    const realm = await this.#options.tokenService(repository).catch(() => undefined)
    if (realm && this.#isOpen) this.#transport.prepare(realm, { free: 1, most: 2, forMs })
  }

  get #isOpen(): boolean {
    const { isReachable, url } = this.#options
    return isReachable() && this.#transport.isFar(url)
  }
}
