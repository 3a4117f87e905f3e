import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import { abortable } from '../flow/abortable.ts'
import { SingleFlight } from '../flow/single-flight.ts'
import { createDigestHash, type Digest, digestAlgorithm, finishDigest } from '../oci/digest.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { BlobStore } from '../storage/blob-store.ts'

/** Milliseconds for which a blob that was found good is trusted; disks rot slowly. */
const trustedMs = 7 * 24 * 60 * 60 * 1000
const pieceSize = 1024 * 1024

/**
 * Sees to it that a blob whose file was damaged on disk is never served complete: the first time that a process
 * serves it, its bytes are hashed beside the transfer, and the last one waits for the result as it does for a fill.
 */
export class Integrity {
  readonly #store: BlobStore
  readonly #logger: Logger
  readonly #good = new LRUCache<Digest, true>({ max: 100_000, ttl: trustedMs })
  readonly #checking = new SingleFlight<Digest, void>()

  constructor({ store, logger }: { store: BlobStore; logger: Logger }) {
    this.#store = store
    this.#logger = logger
  }

  /** The blob was verified just now by other means. */
  trust(digest: Digest): void {
    this.#good.set(digest, true)
  }

  /** Wraps the reader of a stored blob, which is still to be closed by the caller. */
  guard(digest: Digest, reader: BlobReader): BlobReader {
    if (this.#good.has(digest)) return reader
    const checked = this.#checking.run(digest, () => this.#check(digest))
    checked.catch(() => {})
    const isGood = (): boolean => this.#good.has(digest)
    return {
      size: reader.size,
      get isVerified() {
        return isGood()
      },
      verified: (options) => abortable(checked, options?.signal),
      read: (buffer, position, options) => reader.read(buffer, position, options),
      [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
    }
  }

  async #check(digest: Digest): Promise<void> {
    await using reader = await this.#store.open(digest)
    if (!reader) throw new Error(`${digest} was removed just now`)
    const algorithm = digestAlgorithm(digest)
    const hash = createDigestHash(algorithm)
    const buffer = Buffer.allocUnsafeSlow(Math.min(pieceSize, Math.max(reader.size, 1)))
    for (let position = 0; position < reader.size; ) {
      const count = await reader.read(buffer, position)
      hash.update(buffer.subarray(0, count))
      position += count
    }
    if (finishDigest(hash, algorithm) === digest) return this.trust(digest)
    this.#logger.error(
      { digest },
      'a stored blob no longer matches its digest: removed, it will be fetched again',
    )
    await this.#store.delete(digest)
    throw new Error(`${digest} was damaged on disk`)
  }
}
