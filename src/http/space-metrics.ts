import type { Registry } from 'prom-client'
import { addGauge, addTotal } from './metric-kinds.ts'

/** What the cache has of the disk, and what it had to give up. */
export interface SpaceSources {
  /** Bytes that mirrored content may have (`cache.maxSize`). */
  readonly maxCacheBytes: number
  /** What is stored: what may be evicted, and what is kept. */
  readonly usage: () => Promise<{
    readonly cached: { readonly bytes: number }
    readonly kept: { readonly bytes: number }
  }>
  readonly evicted: () => { readonly blobs: number; readonly bytes: number }
  /** Blobs that the disk could not take, or had no room for, so far. */
  readonly handedThrough: () => number
}

/** Adds what became of the space on the disk to the metrics. */
export function addSpaceMetrics(registers: Registry[], space: SpaceSources): void {
  addGauge(
    registers,
    'larder_cache_limit_bytes',
    'Bytes that mirrored content may have (cache.maxSize)',
    () => space.maxCacheBytes,
  )
  addGauge(
    registers,
    'larder_cached_bytes',
    'Bytes of blobs that may be evicted',
    async () => (await space.usage()).cached.bytes,
  )
  addGauge(
    registers,
    'larder_kept_bytes',
    'Bytes of blobs that were pushed, mounted or pinned',
    async () => (await space.usage()).kept.bytes,
  )
  addTotal(
    registers,
    'larder_evicted_blobs_total',
    'Blobs that were evicted, those that were not whole among them',
    () => space.evicted().blobs,
  )
  addTotal(registers, 'larder_evicted_bytes_total', 'Bytes of these', () => space.evicted().bytes)
  addTotal(
    registers,
    'larder_handed_through_total',
    'Blobs that were handed through without being kept, for want of room or since the disk failed',
    space.handedThrough,
  )
}
