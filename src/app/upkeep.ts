import type { AppOptions } from '../app.ts'
import { DiskProbe, diskStates } from '../content/disk-probe.ts'
import type { BlobLimits } from '../content/eviction.ts'
import { Reconciliation } from '../content/reconciliation.ts'
import type { DamageSources } from '../http/damage-metrics.ts'
import type { DiskSources } from '../http/disk-metrics.ts'
import type { FillSources } from '../http/fill-metrics.ts'
import type { HealthRoutesOptions } from '../http/routes/health.ts'
import type { SpaceSources } from '../http/space-metrics.ts'
import { Collector } from '../registry/collector.ts'
import type { DirectoryLock } from '../storage/files/directory-lock.ts'
import { DiskGauge } from '../storage/files/disk-figures.ts'
import type { FileBlobStore } from '../storage/files/file-blob-store.ts'
import type { SqliteCatalog } from '../storage/sqlite/sqlite-catalog.ts'
import { Health } from './health.ts'
import { type Scrubbing, type ScrubbingParts, startScrubbing } from './scrubbing.ts'

/** What keeps a data folder in order. */
export interface UpkeepParts extends ScrubbingParts {
  readonly catalog: SqliteCatalog
  readonly store: FileBlobStore
  readonly lock: DirectoryLock
  readonly limits: Pick<BlobLimits, 'maxBytes'>
}

/** What others ask it. */
export interface Upkeep {
  readonly metrics: DamageSources & DiskSources & FillSources & SpaceSources
  readonly health: HealthRoutesOptions['health']
  readonly repair: Scrubbing['repair']
}

/** Starts the jobs that keep the data folder in order beside the traffic; they end with `building`. */
export async function startUpkeep(
  parts: UpkeepParts,
  options: AppOptions,
  building: AsyncDisposableStack,
): Promise<Upkeep> {
  const { catalog, blobs, store, lock, limits } = parts
  const { config, settleMs, diskProbeMs, diskHangsAfterMs, logger } = options
  const collector = building.use(
    new Collector({ catalog, bytes: blobs, graceMs: config.local.collectAfter, settleMs, logger }),
  )
  collector.start()
  building.use(new Reconciliation({ catalog, blobs, store, logger })).start()
  const disk = building.use(
    new DiskProbe({
      probe: () => blobs.probe(),
      disk: blobs.disk,
      intervalMs: diskProbeMs,
      hangsAfterMs: diskHangsAfterMs,
    }),
  )
  disk.start()
  const health = new Health({
    disk,
    passedLimit: () => blobs.evictor?.passedLimit,
    renewLock: () => lock.renew(),
    probeCatalog: () => catalog.probe(),
    logger,
  })
  const { scrub, healing, repair } = startScrubbing(parts, options, building)
  const gauge = new DiskGauge(config.storage.dir)
  return {
    health: () => health.report(),
    repair,
    metrics: {
      fillCount: () => blobs.fillCount,
      fills: blobs.fills,
      maxCacheBytes: limits.maxBytes,
      usage: () => catalog.usage(),
      evicted: () => blobs.evicted,
      handedThrough: () => blobs.handedThrough,
      collected: collector.collected,
      damaged: blobs.stored.damage.counts,
      quarantined: () => store.quarantine.total,
      scrubbed: () => scrub.scrubbed.blobs,
      healed: () => healing.healed,
      stored: () => store.stored,
      disk: () => gauge.read(),
      storage: {
        states: diskStates,
        get state() {
          return disk.state
        },
      },
    },
  }
}
