import assert from 'node:assert/strict'
import { pino } from 'pino'
import { Blobs } from '../../src/content/blobs.ts'
import type { BlobLimits } from '../../src/content/eviction.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { DocumentReader } from '../../src/oci/document-reader.ts'
import { RegistryError } from '../../src/oci/error.ts'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { LocalReferrers } from '../../src/registry/local-referrers.ts'
import { LocalRepository, type LocalStore } from '../../src/registry/local-repository.ts'
import { LostBytes } from '../../src/registry/lost-bytes.ts'
import { Mounts } from '../../src/registry/mounts.ts'
import { Uploads, type UploadsOptions } from '../../src/registry/uploads.ts'
import type { Catalog } from '../../src/storage/catalog.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { localOrigin, repositoryKey } from '../../src/storage/repository-key.ts'
import { pseudoRandomBytes, type TestImage } from '../support/images.ts'

const name = 'app' as RepositoryName
export const tag = 'v1' as Tag
export const day = 24 * 60 * 60_000
export const content = pseudoRandomBytes(100_000, 'local')
export const digest = digestOf(content)

/** A clock that stands until it is told to go; `jump` changes the time of day alone. */
export class HandClock {
  #wall = Date.UTC(2026, 0)
  #monotonic = 0
  readonly wall = (): number => this.#wall
  readonly monotonic = (): number => this.#monotonic

  pass(ms: number): void {
    this.#monotonic += ms
    this.#wall += ms
  }

  jump(ms: number): void {
    this.#wall += ms
  }
}

/** The parts of a mirror that a push needs. */
export function start(
  store = new MemoryBlobStore(),
  catalog: Catalog = new MemoryCatalog(),
  {
    wholeMs = 0,
    limits,
    ...bounds
  }: Pick<UploadsOptions, 'patienceMs' | 'silentMs' | 'ttlMs' | 'space' | 'idleMs' | 'restMs' | 'clock'> & {
    readonly wholeMs?: number
    readonly limits?: BlobLimits
  } = {},
) {
  const lines: string[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  const blobs = new Blobs({
    pieces: new Pieces(),
    store,
    records: catalog,
    rate: undefined,
    retries: 0,
    patienceMs: 20_000,
    limits,
    logger,
  })
  const uploads = new Uploads({ bytes: blobs, files: store.writers, catalog, logger, ...bounds })
  const documents = new DocumentReader()
  const shared: LocalStore = {
    catalog,
    blobs,
    documents,
    referrers: new LocalReferrers({ catalog, documents }),
    uploads,
    lost: new LostBytes({ blobs, documents, wholeMs }),
    mounts: new Mounts({
      catalog,
      blobs,
      keyOf: async (from) => repositoryKey(localOrigin, from as RepositoryName),
      servePrivateMs: day,
    }),
    collectAfterMs: day,
    logger,
  }
  const at = (of: RepositoryName) => new LocalRepository(shared, of)
  return { store, catalog, blobs, uploads, repository: at(name), at, lines }
}

export type Parts = ReturnType<typeof start>

export async function* pieces(bytes: Uint8Array, size = 30_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size)
}

export async function pushBlob(
  { repository }: Parts,
  bytes: Uint8Array,
  as: Digest = digestOf(bytes),
): Promise<void> {
  const { id } = await repository.begin()
  await repository.append(id, pieces(bytes), {})
  await repository.finish(id, as, pieces(new Uint8Array()), {})
}

export async function pushImage(parts: Parts, { config, layers, manifest }: TestImage): Promise<void> {
  for (const { bytes } of [config, ...layers]) await pushBlob(parts, bytes)
  await parts.repository.putManifest(tag, manifest)
}

export async function has({ repository }: Parts, of: Digest = digest): Promise<boolean> {
  try {
    return (await repository.blobStat(of)).isStored
  } catch (error) {
    assert.ok(error instanceof RegistryError && error.code === 'BLOB_UNKNOWN', String(error))
    return false
  }
}

export async function contentOf({ repository }: Parts, of: Digest = digest): Promise<Digest> {
  const { reader } = await repository.blob(of)
  await using _ = reader
  const bytes = new Uint8Array(reader.size)
  for (let at = 0; at < bytes.length; ) at += await reader.read(bytes.subarray(at), at)
  return digestOf(bytes)
}

export function fails(code: string, status?: number) {
  return (error: unknown) => {
    assert.ok(error instanceof RegistryError, String(error))
    assert.equal(error.code, code)
    if (status !== undefined) assert.equal(error.status, status)
    return true
  }
}
