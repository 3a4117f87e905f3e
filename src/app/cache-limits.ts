import { statfs } from 'node:fs/promises'
import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import type { BlobLimits } from '../content/eviction.ts'
import { bestEffort } from '../flow/best-effort.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import type { Catalog } from '../storage/catalog.ts'

export interface CacheLimitsParts {
  readonly catalog: Pick<Catalog, 'usage' | 'blob' | 'fact' | 'setFact'>
  readonly store: Pick<BlobStore, 'list'>
  /** Bytes of the disk that holds the data folder. */
  readonly disk: () => Promise<DiskSize>
  readonly logger: Logger
}

interface DiskSize {
  readonly free: number
  readonly size: number
}

const gigabyte = 1e9
/** What `auto` is at most. */
const largest = { maxBytes: 50 * gigabyte, minFreeBytes: 5 * gigabyte } as const
/** The share by which the size of a disk may differ: some count what others use of it. */
const sameSize = 0.1
/** Stored blobs that are looked up in the catalog. */
const sampleSize = 100
/** Bytes below which a cache is of no use to anybody. */
const useless = 256 * 1024 * 1024

/** The sizes of the configuration in bytes. Warns where next to nothing is left for the cache. Throws what `disk` throws. */
export async function cacheLimits(
  { maxSize, minFree, keepAtLeast }: Pick<Config['cache'], 'maxSize' | 'minFree' | 'keepAtLeast'>,
  parts: CacheLimitsParts,
): Promise<BlobLimits> {
  const { free, size } = await parts.disk()
  const cached = (await parts.catalog.usage()).cached.bytes
  const minFreeBytes =
    typeof minFree === 'number' ? minFree : Math.min(largest.minFreeBytes, Math.floor(size / 10))
  const maxBytes = await maxBytesOf(maxSize, { free, size }, parts)
  const left = Math.min(maxBytes, Math.max(0, free + cached - minFreeBytes))
  if (left < useless) {
    parts.logger.warn(
      { bytes: left, maxSize: maxBytes, minFree: minFreeBytes, free },
      'next to nothing can be kept of what is mirrored: lower cache.minFree, raise cache.maxSize, or make room on the disk',
    )
  }
  return { maxBytes, minFreeBytes, keepAtLeastMs: keepAtLeast }
}

/** Free and total bytes of the disk that holds `directory`. Throws the file system's error. */
export async function diskSize(directory: string): Promise<DiskSize> {
  const { bavail, blocks, bsize } = await statfs(directory)
  return { free: bavail * bsize, size: blocks * bsize }
}

async function maxBytesOf(
  maxSize: Config['cache']['maxSize'],
  disk: DiskSize,
  { catalog, store }: CacheLimitsParts,
): Promise<number> {
  if (typeof maxSize === 'number') return maxSize
  if (typeof maxSize === 'object') return Math.floor((disk.size * maxSize.percent) / 100)
  // Found out once for a disk: else it would shrink and grow with whatever else is on it.
  const known = await catalog.fact('cache-max-size').catch(() => undefined)
  const knownSize = await catalog.fact('cache-disk-size').catch(() => undefined)
  const isSameDisk = knownSize === undefined || Math.abs(disk.size - knownSize) <= knownSize * sameSize
  if (known !== undefined && isSameDisk) {
    // By an older version only the limit was written down.
    if (knownSize === undefined) await bestEffort(catalog.setFact('cache-disk-size', disk.size), () => {})
    return known
  }
  const { cached } = await catalog.usage()
  // A catalog that is new beside blobs that are not, or has been told of what was pushed alone: how much they are is known
  // at the next start, and no more than what is used of the disk.
  const someStored = await store.list({ limit: sampleSize })
  const rows = await Promise.all(someStored.map((digest) => catalog.blob(digest).catch(() => undefined)))
  if (rows.includes(undefined)) return Math.max(largest.maxBytes, disk.size - disk.free)
  // An upgrade takes nothing away.
  const share = Math.min(largest.maxBytes, (disk.free + cached.bytes) * 0.8)
  const maxBytes = Math.max(cached.bytes, Math.floor(share))
  await bestEffort(catalog.setFact('cache-max-size', maxBytes), () => {})
  await bestEffort(catalog.setFact('cache-disk-size', disk.size), () => {})
  return maxBytes
}
