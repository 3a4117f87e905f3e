import { LRUCache } from 'lru-cache'
import type { LimitFunction } from 'p-limit'
import type { Logger } from 'pino'
import { abortable, delay } from '../flow/abortable.ts'
import type { TokenBucket } from '../flow/token-bucket.ts'
import { type Digest, digestAlgorithm, digestOf } from '../oci/digest.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { BlobSource } from './download.ts'
import { Fill, partialId } from './fill.ts'
import { FillCounter, type FillCounts } from './fill-counts.ts'
import { Integrity } from './integrity.ts'
import { passThrough } from './pass-through.ts'

export interface BlobsOptions {
  readonly store: BlobStore
  readonly rate: TokenBucket | undefined
  /** See `DownloadOptions`. */
  readonly retries: number
  readonly turnMs: number
  /** Milliseconds that a reader waits for the first byte of a blob whose size is known. */
  readonly patienceMs: number
  readonly logger: Logger
}

/** Where a blob comes from if it is not here. */
export interface BlobOrigin {
  /** The upstream's name, for errors. */
  readonly upstream: string
  /** The upstream's and the repository's name: whose way to the bytes this is. */
  readonly repository: string
  /** Bytes, from a descriptor, where there is one. */
  readonly size: number | undefined
  readonly source: BlobSource
  readonly limit: LimitFunction
}

interface RunningFill {
  readonly fill: Fill
  readonly origin: BlobOrigin
}

export interface OpenedBlob {
  /** To be closed by the caller. */
  readonly reader: BlobReader
  /** hit: it was stored; joined: it was on its way for somebody else; miss: this request started the fill. */
  readonly status: 'hit' | 'joined' | 'miss'
}

/** Bytes: what is not larger is verified before its first byte is served, and kept in memory when it is asked for. */
const smallSize = 64 * 1024
const unstorableMs = 5 * 60 * 1000
const memoryBytes = 32 * 1024 * 1024

/** The blobs that are here or on their way: one fill a digest, whoever asks, and a reader for everybody. */
export class Blobs implements AsyncDisposable {
  readonly #options: BlobsOptions
  readonly #integrity: Integrity
  readonly #counter = new FillCounter()
  readonly #fills = new Map<Digest, RunningFill>()
  /** Blobs that the disk could not take a moment ago; trying again at once would cut the same client again. */
  readonly #unstorable = new LRUCache<Digest, true>({ max: 10_000, ttl: unstorableMs })
  readonly #small = new LRUCache<Digest, Uint8Array>({
    maxSize: memoryBytes,
    sizeCalculation: (bytes) => bytes.length + 200,
  })

  constructor(options: BlobsOptions) {
    this.#options = options
    this.#integrity = new Integrity(options)
  }

  /** Fills under way. */
  get fillCount(): number {
    return this.#fills.size
  }

  /** What became of fills so far, by the name of the upstream. */
  get fills(): ReadonlyMap<string, FillCounts> {
    return this.#counter.byUpstream
  }

  /** The size of a stored blob in bytes; undefined where it is not stored. */
  async size(digest: Digest): Promise<number | undefined> {
    return this.#small.get(digest)?.length ?? (await this.#options.store.size(digest))
  }

  /**
   * Opens a blob at once if any of it is here; else waits for its first byte, or as long as is polite before the
   * headers of an answer have to leave. Rejects with the fill's failure, or when `signal` aborts; the fill goes on.
   */
  async open(digest: Digest, origin: BlobOrigin, signal?: AbortSignal): Promise<OpenedBlob> {
    const stored = this.#fills.has(digest) ? undefined : await this.#openStored(digest)
    if (stored) return { reader: stored, status: 'hit' }
    const running = this.#fills.get(digest)
    const joined = running && (await this.#join(running, origin, signal))
    if (joined) return { reader: joined, status: 'joined' }
    if (this.#unstorable.has(digest)) return this.#passThrough(digest, origin)
    const isRoomy = this.#fills.has(digest) || (await this.#hasRoom(digest, origin.size))
    const meanwhile = this.#fills.get(digest)
    if (!meanwhile && !isRoomy) return this.#passThrough(digest, origin)
    // Nothing is begun for somebody who has left.
    if (!meanwhile) signal?.throwIfAborted()
    const { fill } = meanwhile ?? this.#start(digest, origin)
    try {
      const reader = await this.#follow(fill, origin.size, signal)
      return { reader, status: meanwhile ? 'joined' : 'miss' }
    } catch (error) {
      if (!isStorageFailure(error)) throw error
      return this.#passThrough(digest, origin)
    }
  }

  /**
   * Follows a fill that runs for somebody else. Undefined where it is of no use: it has failed by the other one's
   * way (whose repository may not even have the blob), or before this one came, or goes by another size, which one of
   * the two has wrong.
   */
  async #join(
    running: RunningFill,
    origin: BlobOrigin,
    signal?: AbortSignal,
  ): Promise<BlobReader | undefined> {
    const { fill, origin: other } = running
    const isOtherSize = origin.size !== undefined && other.size !== undefined && origin.size !== other.size
    const wasFailing = fill.isFailing
    try {
      if (!isOtherSize && !wasFailing) return await this.#follow(fill, origin.size, signal)
      await abortable(fill.done, signal)
    } catch (error) {
      signal?.throwIfAborted()
      const isOwnWay = !wasFailing && other.repository === origin.repository && !isOtherSize
      if (isOwnWay && !isStorageFailure(error)) throw error
    }
    // Not before its partial is closed: the next fill opens the same one.
    await abortable(
      fill.done.catch(() => {}),
      signal,
    )
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const reason = new Error('the mirror is stopping; what was fetched is kept')
    await Promise.all([...this.#fills.values()].map(({ fill }) => fill.stop(reason)))
  }

  #start(digest: Digest, origin: BlobOrigin): RunningFill {
    const counts = this.#counter.of(origin.upstream)
    const fill = Fill.start({ ...this.#options, ...origin, digest, counts })
    const running = { fill, origin }
    this.#fills.set(digest, running)
    fill.done
      .then(() => this.#integrity.trust(digest))
      .catch((error: unknown) => {
        if (isStorageFailure(error)) this.#unstorable.set(digest, true)
      })
      .finally(() => this.#fills.delete(digest))
    return running
  }

  /** Whether the disk holds it beside what the fills under way still bring: one that is begun in vain is cut. */
  async #hasRoom(digest: Digest, size: number | undefined): Promise<boolean> {
    if (size === undefined) return true
    // A disk that does not tell is tried.
    const room = await this.#options.store.roomFor(partialId(digest)).catch(() => Number.POSITIVE_INFINITY)
    const promised = [...this.#fills.values()].reduce((sum, { fill }) => sum + fill.missingBytes, 0)
    return size + promised <= room
  }

  /** A full or broken disk is our trouble, not the client's. */
  async #passThrough(digest: Digest, origin: BlobOrigin): Promise<OpenedBlob> {
    this.#options.logger.error(
      { digest },
      'the disk cannot take this blob: handing it through without keeping it',
    )
    return { reader: await passThrough({ ...this.#options, ...origin, digest }), status: 'miss' }
  }

  async #follow(fill: Fill, size: number | undefined, signal: AbortSignal | undefined): Promise<BlobReader> {
    if (size !== undefined && size <= smallSize) await abortable(fill.done, signal)
    else if (size === undefined) await abortable(fill.started, signal)
    else await abortable(Promise.race([fill.started, delay(this.#options.patienceMs)]), signal)
    const reader = await fill.reader(signal)
    if (reader.isVerified || reader.size > smallSize) return reader
    // Its size is known only now: a small one is not begun before it is verified.
    await reader[Symbol.asyncDispose]()
    await abortable(fill.done, signal)
    return fill.reader(signal)
  }

  async #openStored(digest: Digest): Promise<BlobReader | undefined> {
    const kept = this.#small.get(digest)
    if (kept) return readerOf(kept)
    const { store, logger } = this.#options
    const reader = await store.open(digest)
    if (!reader) return undefined
    if (reader.size > smallSize) return this.#integrity.guard(digest, reader)
    await using small = reader
    const bytes = await readAll(small)
    if (digestOf(bytes, digestAlgorithm(digest)) !== digest) {
      logger.error(
        { digest },
        'a stored blob no longer matches its digest: removed, it will be fetched again',
      )
      await store.delete(digest)
      return undefined
    }
    this.#small.set(digest, bytes)
    return readerOf(bytes)
  }
}

async function readAll(reader: BlobReader): Promise<Uint8Array> {
  const bytes = new Uint8Array(reader.size)
  for (let position = 0; position < bytes.length; ) {
    position += await reader.read(bytes.subarray(position), position)
  }
  return bytes
}

function readerOf(bytes: Uint8Array): BlobReader {
  return {
    size: bytes.length,
    isVerified: true,
    verified: async () => {},
    read: async (buffer, position) => {
      const piece = bytes.subarray(position, position + buffer.length)
      buffer.set(piece)
      return piece.length
    },
    [Symbol.asyncDispose]: async () => {},
  }
}

/** Whether a fill failed at the disk: ENOSPC, EIO, EROFS, EMFILE, ... */
function isStorageFailure(error: unknown): boolean {
  if (!(error instanceof Error) || error instanceof UpstreamError) return false
  return 'syscall' in error || isStorageFailure(error.cause)
}
