import pino from 'pino'
import { Blobs, type BlobsOptions } from '../../src/content/blobs.ts'
import type { Source } from '../../src/content/source.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import type { DiskRoom } from '../../src/storage/blob-store.ts'
import { MemoryBlobStore } from '../../src/storage/memory/memory-blob-store.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { alpine } from '../storage/catalog-fixtures.ts'
import { lending } from '../support/lent.ts'
import { Random } from '../torture/random.ts'

/** What an image consists of: one layer that others have too, and some of its own. */
export interface WeekImage {
  readonly blobs: readonly WeekBlob[]
}

/** The bytes are made when they are asked for, and are the same each time. */
export interface WeekBlob {
  readonly digest: Digest
  readonly size: number
  readonly number: number
}

/** Images that share a base. */
const imagesPerBase = 50

/** Images whose sizes the seed decides: a thousandth of what images have. */
export function imagesOf(count: number, seed: number): WeekImage[] {
  const random = new Random(seed)
  let made = 0
  const make = (most: number): WeekBlob => {
    made += 1
    // Few are large: the square of a number from 0 to 1 is mostly small.
    const size = 200 + Math.floor(random.next() ** 2 * most)
    return { number: made, size, digest: digestOf(bytesOf(made, size)) }
  }
  const bases = Array.from({ length: Math.ceil(count / imagesPerBase) }, () => make(30_000))
  return Array.from({ length: count }, () => {
    const own = Array.from({ length: 1 + random.below(3) }, () => make(6000))
    return { blobs: [random.oneOf(bases), ...own] }
  })
}

/** Bytes of all images together. */
export function sizeOf(images: readonly WeekImage[]): number {
  const sizes = new Map(images.flatMap(({ blobs }) => blobs.map(({ digest, size }) => [digest, size])))
  return [...sizes.values()].reduce((sum, size) => sum + size, 0)
}

function bytesOf(number: number, size: number): Buffer {
  const bytes = Buffer.alloc(size)
  bytes.writeUInt32LE(number)
  return bytes
}

/** An upstream that has everything at once. */
function sourceOf({ number, size }: WeekBlob): Source {
  return {
    name: 'docker.io',
    repository: alpine,
    open: async (start) => ({
      start,
      size,
      async *body() {
        yield* lending(bytesOf(number, size).subarray(start))
      },
      stop: () => {},
      discard: () => {},
    }),
  }
}

/** Only the limit bounds what it holds. */
class RoomyStore extends MemoryBlobStore {
  override async room(): Promise<DiskRoom> {
    return { bytes: Number.POSITIVE_INFINITY, files: { free: 0, total: 0 } }
  }
}

/** The bytes of a mirror in memory. Whoever makes one has the clock stand still; dispose to stop it. */
export class WeekMirror implements AsyncDisposable {
  readonly blobs: Blobs
  readonly #store: MemoryBlobStore
  readonly #catalog = new MemoryCatalog()
  #hasChanged = true
  #stored = 0

  constructor(limits: NonNullable<BlobsOptions['limits']>) {
    const step = async (name: string): Promise<void> => {
      if (name === 'rename' || name === 'unlink') this.#hasChanged = true
    }
    this.#store = new RoomyStore({ now: () => Date.now(), step })
    this.blobs = new Blobs({
      pieces: new Pieces(),
      store: this.#store,
      records: this.#catalog,
      rate: undefined,
      retries: 1,
      patienceMs: 1000,
      logger: pino({ enabled: false }),
      limits,
    })
  }

  /** Pulls all blobs of an image at once, and returns which of them were here. */
  async pull({ blobs }: WeekImage): Promise<boolean[]> {
    return Promise.all(
      blobs.map(async (blob) => {
        const { reader, status } = await this.blobs.open(blob.digest, sourceOf(blob), { size: blob.size })
        await using opened = reader
        await opened.verified()
        return status === 'hit'
      }),
    )
  }

  /** Bytes that lie there, as far as they are whole. */
  get storedBytes(): number {
    if (this.#hasChanged) this.#stored = this.#store.stored.bytes
    this.#hasChanged = false
    return this.#stored
  }

  /** Bytes that the limit counts. */
  countedBytes(): Promise<number> {
    return this.blobs.space.countedBytes()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.blobs[Symbol.asyncDispose]()
    await this.#store[Symbol.asyncDispose]()
  }
}

/** The best that can be done by time of use alone: it forgets a blob only in the moment in which another one needs its room. */
export class IdealCache {
  readonly #sizes = new Map<Digest, number>()
  readonly #maxBytes: number
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Whether it was here. */
  use({ digest, size }: WeekBlob): boolean {
    const wasHere = this.#sizes.delete(digest)
    if (!wasHere) this.#bytes += size
    this.#sizes.set(digest, size)
    for (const [oldest, bytes] of this.#sizes) {
      if (this.#bytes <= this.#maxBytes) break
      this.#sizes.delete(oldest)
      this.#bytes -= bytes
    }
    return wasHere
  }
}
