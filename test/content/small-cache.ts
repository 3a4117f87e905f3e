import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import pino from 'pino'
import type { Blobs } from '../../src/content/blobs.ts'
import type { BlobLimits } from '../../src/content/eviction.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { MemoryBlobStore, type MemoryBlobStoreOptions } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { readAll, testBytes } from '../storage/files/storage-folder.ts'
import { until } from '../support/settle.ts'
import { blobsOver, good } from './scripted-source.ts'

/** Of one blob. */
export const unit = 1024 * 1024

export interface CacheOptions {
  readonly limits?: Partial<BlobLimits>
  readonly disk?: MemoryBlobStoreOptions
  readonly store?: MemoryBlobStore
  readonly records?: MemoryCatalog
  readonly patienceMs?: number
}

/** A cache of ten blobs, of which half a one is kept free. */
export function smallCache(t: TestContext, { limits, disk, patienceMs = 2000, ...given }: CacheOptions = {}) {
  const store = given.store ?? new MemoryBlobStore(disk)
  const records = given.records ?? new MemoryCatalog()
  const lines: string[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  const blobs = blobsOver(t, store, {
    records,
    patienceMs,
    logger,
    limits: { maxBytes: 10 * unit, minFreeBytes: 0, keepAtLeastMs: 0, intervalMs: 5, ...limits },
  })
  /** The lines of the log with this text. */
  const told = (text: string) => lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg.includes(text))
  return { store, records, blobs, told }
}

export interface TestBlob {
  readonly bytes: Buffer
  readonly digest: Digest
}

export function blobOf(seed: number, size = unit): TestBlob {
  const bytes = testBytes(size, seed)
  return { bytes, digest: digestOf(bytes) }
}

/** Pulls it whole, and waits for the end of its fill. */
export async function pull(blobs: Blobs, { bytes, digest }: TestBlob, claim = bytes.length): Promise<string> {
  const { reader, status } = await blobs.open(digest, good('x/x', bytes), { size: claim })
  await using opened = reader
  assert.equal(digestOf(await readAll(opened)), digest)
  await opened.verified()
  await until(() => blobs.fillCount === 0)
  return status
}

/** Pulls so many, a second apart by the mocked clock. */
export async function pullSome(t: TestContext, blobs: Blobs, count: number, from = 0): Promise<TestBlob[]> {
  const pulled = Array.from({ length: count }, (_, index) => blobOf(from + index))
  for (const blob of pulled) {
    t.mock.timers.tick(1000)
    await pull(blobs, blob)
  }
  return pulled
}

/** Which of them are stored, by their place among them. */
export async function stored(store: MemoryBlobStore, blobs: readonly TestBlob[]): Promise<number[]> {
  const digests = new Set(await store.list({ limit: 1000 }))
  return blobs.flatMap(({ digest }, index) => (digests.has(digest) ? index : []))
}
