import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import type { Digest } from '../oci/digest.ts'
import type { Catalog, ManifestRecord } from '../storage/catalog.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import { isIntact } from './verified-manifest.ts'

export interface KeptManifestsOptions {
  readonly catalog: Catalog
  readonly logger: Logger
}

const memoryBytes = 32 * 1024 * 1024

/** The manifests whose bytes are here, whoever they came by: that says nothing of who may have them. */
export class KeptManifests {
  readonly #options: KeptManifestsOptions
  /** With the media type that each repository has it by. */
  readonly #memory = new LRUCache<string, ManifestRecord>({
    maxSize: memoryBytes,
    sizeCalculation: ({ bytes }) => bytes.length + 500,
  })

  constructor(options: KeptManifestsOptions) {
    this.#options = options
  }

  /** Undefined where it is not here, or no longer what its digest says. */
  async get(repository: RepositoryKey, digest: Digest): Promise<ManifestRecord | undefined> {
    const inMemory = this.#memory.get(`${repository} ${digest}`)
    if (inMemory) return inMemory
    const { catalog, logger } = this.#options
    const record = await catalog.manifest(repository, digest)
    if (!record) return undefined
    if (isIntact(record)) {
      this.set(repository, record)
      return record
    }
    logger.error({ digest }, 'a stored manifest no longer matches its digest: asking the upstream again')
    return undefined
  }

  forget(repository: RepositoryKey, digest: Digest): void {
    this.#memory.delete(`${repository} ${digest}`)
  }

  /** Keeps it in memory. */
  set(repository: RepositoryKey, manifest: ManifestRecord): void {
    this.#memory.set(`${repository} ${manifest.digest}`, manifest)
  }
}
