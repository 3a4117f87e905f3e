import type { AppOptions } from '../app.ts'
import type { Blobs } from '../content/blobs.ts'
import { Scrub } from '../content/scrub.ts'
import { Healing } from '../registry/healing.ts'
import type { Mirror } from '../registry/mirror.ts'
import { MirroredRepository } from '../registry/mirrored-repository.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import type { Catalog } from '../storage/catalog.ts'
import { nameOf, originOf } from '../storage/repository-key.ts'
import type { RegistryClient } from '../upstream/registry-client.ts'

export interface ScrubbingParts {
  readonly catalog: Catalog
  readonly blobs: Blobs
  readonly store: BlobStore
  readonly mirror: Mirror
  readonly upstreams: readonly RegistryClient[]
}

/** Starts what finds damaged blobs, and what fetches them again; both end with `building`. */
export function startScrubbing(
  { catalog, blobs, store, mirror, upstreams }: ScrubbingParts,
  { config, settleMs, healEveryMs, logger }: AppOptions,
  building: AsyncDisposableStack,
): { readonly scrub: Scrub; readonly healing: Healing } {
  const everyMs = config.cache.scrub
  const scrub = building.use(new Scrub({ catalog, stored: blobs.stored, everyMs, settleMs, logger }))
  const healing = building.use(
    new Healing({
      catalog,
      store,
      lost: blobs.stored.damage.lost,
      mirrored: (key) => {
        const upstream = upstreams.find(({ name }) => name === originOf(key))
        return upstream && new MirroredRepository(mirror, upstream, nameOf(key))
      },
      isBusy: () => blobs.fillCount > 0,
      intervalMs: healEveryMs,
      logger,
    }),
  )
  if (Number.isFinite(everyMs)) scrub.start()
  healing.start()
  return { scrub, healing }
}
