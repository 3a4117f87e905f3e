import type { AppOptions } from '../app.ts'
import type { Blobs } from '../content/blobs.ts'
import { type Collected, Collector } from '../registry/collector.ts'
import type { DirectoryLock } from '../storage/files/directory-lock.ts'
import type { FileBlobStore } from '../storage/files/file-blob-store.ts'
import type { SqliteCatalog } from '../storage/sqlite/sqlite-catalog.ts'

/** What keeps a data folder in order. */
export interface UpkeepParts {
  readonly catalog: SqliteCatalog
  readonly blobs: Blobs
  readonly store: FileBlobStore
  readonly lock: DirectoryLock
}

/** What others ask it. */
export interface Upkeep {
  readonly collected: Collected
  /** Rejects where the data folder cannot be used. */
  readonly probe: () => Promise<void>
}

/** Starts the jobs that keep the data folder in order beside the traffic; they end with `building`. */
export async function startUpkeep(
  { catalog, blobs, store, lock }: UpkeepParts,
  { config, settleMs, logger }: AppOptions,
  building: AsyncDisposableStack,
): Promise<Upkeep> {
  const collector = building.use(
    new Collector({ catalog, bytes: blobs, graceMs: config.local.collectAfter, settleMs, logger }),
  )
  collector.start()
  return {
    collected: collector.collected,
    probe: async () => {
      lock.renew()
      await Promise.all([store.probe(), catalog.probe()])
    },
  }
}
