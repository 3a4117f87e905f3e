import type { Logger } from 'pino'
import type { Digest } from '../oci/digest.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import type { BlobRecords } from './blob-records.ts'
import type { BlobUse } from './blob-use.ts'
import { evictionOrder } from './eviction-order.ts'
import { Evictor, type EvictorOptions } from './evictor.ts'
import { Space, type SpaceLimits } from './space.ts'

/** What mirrored content may have, and for how long it stays. */
export interface BlobLimits extends SpaceLimits {
  /** Milliseconds for which what was fetched is not evicted, unless there is no other way (`cache.keepAtLeast`). */
  readonly keepAtLeastMs: number
  /** See `EvictorOptions`. */
  readonly intervalMs?: number
}

export interface EvictionOptions extends Pick<EvictorOptions, 'remove'> {
  readonly store: BlobStore
  readonly records: BlobRecords
  readonly use: BlobUse
  readonly isOnItsWay: (digest: Digest) => boolean
  /** Undefined: it may have all that there is, and nothing is evicted. */
  readonly limits?: BlobLimits | undefined
  readonly patienceMs: number
  readonly logger: Logger
}

const unlimited: SpaceLimits = { maxBytes: Number.POSITIVE_INFINITY, minFreeBytes: 0 }

/** Who knows whether there is room, and who makes it; to be disposed of by the caller. */
export function eviction(options: EvictionOptions): { space: Space; evictor: Evictor | undefined } {
  const { store, records, use, limits } = options
  const setAside = new SetAside(store.quarantine, records)
  const space = new Space({
    ...options,
    limits: limits ?? unlimited,
    disk: () => store.room(),
    partials: store.partials,
    cachedBytes: async () =>
      evictor ? (await records.usage()).cached.bytes + (await setAside.bytes()) + evictor.stuckBytes : 0,
    unrecordedBytes: async () => {
      const { cached, kept } = await records.usage()
      return store.stored.bytes - cached.bytes - kept.bytes - (evictor?.stuckBytes ?? 0)
    },
    onWait: () => (evictor ? evictor.wake() : space.nothingLeft()),
  })
  const evictor =
    limits &&
    new Evictor({
      ...options,
      ...limits,
      space,
      catalog: records,
      quarantine: store.quarantine,
      order: () =>
        evictionOrder({
          ...options,
          ...limits,
          catalog: records,
          quarantine: store.quarantine,
          resting: space.resting,
          noteUse: () => use.note(),
          partialsUnderWay: () => space.partials,
          isRead: (digest) => use.isInUse(digest),
        }),
    })
  evictor?.start()
  return { space, evictor }
}

/** Blobs of which it is asked each time who has pushed them, and not only when others are set aside. */
const askedEachTime = 100

/** What is set aside of mirrored content: of what was pushed it stays until it is healed, and counts as little. */
class SetAside {
  readonly #quarantine: BlobStore['quarantine']
  readonly #records: Pick<BlobRecords, 'localHolders'>
  #known = { blobs: 0, total: 0, bytes: 0 }

  constructor(quarantine: BlobStore['quarantine'], records: Pick<BlobRecords, 'localHolders'>) {
    this.#quarantine = quarantine
    this.#records = records
  }

  async bytes(): Promise<number> {
    const { blobs, bytes: total } = this.#quarantine.total
    const isSame = blobs === this.#known.blobs && total === this.#known.total
    if (!isSame || blobs <= askedEachTime) {
      let bytes = 0
      for (const { digest, size } of this.#quarantine.list()) {
        const isPushed = (await this.#records.localHolders(digest, 1)).length > 0
        if (!isPushed) bytes += size
      }
      this.#known = { blobs, total, bytes }
    }
    return this.#known.bytes
  }
}
