import type { AppOptions } from '../app.ts'
import type { Blobs } from '../content/blobs.ts'
import { Scrub } from '../content/scrub.ts'
import type { Digest } from '../oci/digest.ts'
import { Healing } from '../registry/healing.ts'
import type { Mirror } from '../registry/mirror.ts'
import { MirroredRepository } from '../registry/mirrored-repository.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import type { Catalog } from '../storage/catalog.ts'
import { StorageError } from '../storage/error.ts'
import { nameOf, originOf } from '../storage/repository-key.ts'
import type { RegistryClient } from '../upstream/registry-client.ts'

export interface ScrubbingParts {
  readonly catalog: Catalog
  readonly blobs: Blobs
  readonly store: BlobStore
  readonly mirror: Mirror
  readonly upstreams: readonly RegistryClient[]
}

export interface Scrubbing {
  readonly scrub: Scrub
  readonly healing: Healing
  /** Sets aside those of them that are damaged, fetches them again, and returns those that are whole then. Throws StorageError. */
  repair(digests: readonly Digest[], signal?: AbortSignal): Promise<ReadonlySet<Digest>>
}

/** Starts what finds damaged blobs, and what fetches them again; both end with `building`. */
export function startScrubbing(
  { catalog, blobs, store, mirror, upstreams }: ScrubbingParts,
  { config, settleMs, healEveryMs, logger }: AppOptions,
  building: AsyncDisposableStack,
): Scrubbing {
  const everyMs = config.cache.scrub
  const { damage } = blobs.stored
  const scrub = building.use(new Scrub({ catalog, stored: blobs.stored, everyMs, settleMs, logger }))
  const healing = building.use(
    new Healing({
      catalog,
      store: { quarantine: store.quarantine, stat: (digest) => damage.stat(digest) },
      lost: damage.lost,
      restore: (digest, signal) => blobs.stored.restore(digest, signal),
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
  return {
    scrub,
    healing,
    async repair(digests, signal) {
      for (const digest of digests)
        await blobs.stored.verify(digest, { signal }).catch((error: unknown) => {
          // Somebody else's files are told, and left as they are.
          if (!(error instanceof StorageError) || error.code !== 'DENIED') throw error
        })
      await healing.heal(signal)
      const whole = new Set<Digest>()
      for (const digest of digests) if (await damage.stat(digest)) whole.add(digest)
      return whole
    },
  }
}
