import type { TestContext } from 'node:test'
import pino from 'pino'
import type { Blobs, BlobsOptions } from '../../src/content/blobs.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { Tag } from '../../src/oci/reference.ts'
import { FileBlobStore } from '../../src/storage/files/file-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { blobsOver, good } from '../content/scripted-source.ts'
import { blobOf, type TestBlob } from '../content/small-cache.ts'
import { storeBlob } from '../storage/blob-store.contract.ts'
import { alpine, anyone, app, one } from '../storage/catalog-fixtures.ts'
import { readAll, storageFolder } from '../storage/files/storage-folder.ts'
import { FaultyDisk } from '../support/faulty-disk.ts'

/** The door to bytes over files on a disk that fails as it is told. */
export interface Stored {
  readonly directory: string
  readonly disk: FaultyDisk
  readonly store: FileBlobStore
  readonly records: MemoryCatalog
  readonly blobs: Blobs
  /** Of the log, warnings and worse. */
  readonly lines: string[]
}

export async function startStored(t: TestContext, options: Partial<BlobsOptions> = {}): Promise<Stored> {
  const directory = await storageFolder(t)
  const disk = await FaultyDisk.below(t, directory)
  const store = await FileBlobStore.open(directory)
  await store.counted()
  const records = new MemoryCatalog()
  const lines: string[] = []
  const logger = pino({ level: 'warn' }, { write: (line: string) => void lines.push(line) })
  t.after(() => store[Symbol.asyncDispose]())
  const blobs = blobsOver(t, store, { records, patienceMs: 2000, probeMs: 5, logger, ...options })
  return { directory, disk, store, records, blobs, lines }
}

/** Reads a blob that its upstream has; what came, where that was all of it. Throws what the reader throws. */
export async function read(blobs: Blobs, { bytes, digest }: TestBlob): Promise<Buffer> {
  const { reader } = await blobs.open(digest, good('library/alpine', bytes), { size: bytes.length })
  await using opened = reader
  const received = await readAll(opened)
  await opened.verified()
  return received
}

/** What is wrong with a pull, which has to bring all bytes. */
export async function problemsOfPull(pulling: Promise<Buffer>, { digest }: TestBlob): Promise<string[]> {
  return pulling.then(
    (received) => (digestOf(received) === digest ? [] : [`WRONG BYTES: ${received.length}`]),
    (error: unknown) => [`a pull failed: ${error}`],
  )
}

/** A blob that somebody has pushed. */
export async function pushed({ store, records }: Stored, seed: number, size: number): Promise<TestBlob> {
  const blob = blobOf(seed, size)
  await storeBlob(store, blob.bytes)
  await records.pushed(app, blob.digest, await fileOf(store, blob), Date.now())
  return blob
}

/** A blob of an upstream that a pin keeps. */
export async function pinned({ store, records }: Stored, seed: number, size: number): Promise<TestBlob> {
  const blob = blobOf(seed, size)
  await storeBlob(store, blob.bytes)
  await records.sealed(blob.digest, await fileOf(store, blob), Date.now())
  const references = [{ target: blob.digest, kind: 'layer', size }] as const
  await records.pulled(alpine, one, { ...anyone(1), tag: 'latest' as Tag, references })
  await records.pin({ origin: 'docker.io', repository: 'library/alpine', tag: 'latest' }, 1)
  return blob
}

async function fileOf(store: FileBlobStore, { digest }: TestBlob) {
  const file = await store.stat(digest)
  if (!file) throw new Error(`${digest} is not stored`)
  return file
}

/** Bytes of all files of blobs, and of those that were set aside. */
export async function bytesOnDisk({ store }: Stored): Promise<number> {
  let bytes = store.quarantine.total.bytes
  for (const digest of await store.list({ limit: 10_000 })) bytes += (await store.stat(digest))?.size ?? 0
  return bytes
}
