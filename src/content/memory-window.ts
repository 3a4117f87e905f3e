import type { Hash } from 'node:crypto'
import { abortable } from '../flow/abortable.ts'
import { deferred } from '../flow/deferred.ts'
import { createDigestHash, type Digest, type DigestAlgorithm, finishDigest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { Partial } from '../storage/partial.ts'
import { Ranges, type ReadonlyRanges } from '../storage/ranges.ts'

/** Bytes that wait for the reader before the download is held back. */
const capacity = 4 * 1024 * 1024

/**
 * A partial that keeps nothing: a bounded window in memory between one download and one reader, for a blob that
 * the disk cannot take. Written in order from the start, read in order from any position on.
 */
export class MemoryWindow implements Partial {
  readonly id = 'memory'
  readonly size: number
  readonly #present = new Ranges()
  readonly #algorithm: DigestAlgorithm
  readonly #hash: Hash
  readonly #verified = deferred<void>()
  /** Resolved and replaced whenever something changes for who waits. */
  #change = deferred<void>()
  #chunks: Uint8Array[] = []
  /** The position of the first byte held. */
  #start = 0
  #held = 0
  #isVerified = false
  #failure: Error | undefined

  constructor(size: number, algorithm: DigestAlgorithm) {
    this.size = size
    this.#algorithm = algorithm
    this.#hash = createDigestHash(algorithm)
  }

  get present(): ReadonlyRanges {
    return this.#present
  }

  async write(position: number, bytes: Uint8Array): Promise<void> {
    const end = this.#present.presentUntil(0)
    const fresh = bytes.subarray(Math.max(0, end - position))
    if (fresh.length === 0) return
    while (this.#held > 0 && this.#held + fresh.length > capacity && !this.#failure)
      await this.#change.promise
    if (this.#failure) throw this.#failure
    this.#hash.update(fresh)
    this.#chunks.push(fresh)
    this.#held += fresh.length
    this.#present.add(end, end + fresh.length)
    this.#changed()
  }

  reader(): BlobReader {
    const isVerified = (): boolean => this.#isVerified
    return {
      size: this.size,
      get isVerified() {
        return isVerified()
      },
      verified: (options) => abortable(this.#verified.promise, options?.signal),
      read: (buffer, position, options) => this.#read(buffer, position, options?.signal),
      [Symbol.asyncDispose]: () => this.discard(new Error('nobody reads any more')),
    }
  }

  async seal(expected: Digest): Promise<void> {
    const actual = finishDigest(this.#hash, this.#algorithm)
    if (actual !== expected) {
      const error = new RegistryError('DIGEST_INVALID', `expected ${expected}, the bytes are ${actual}`)
      await this.discard(error)
      throw error
    }
    this.#isVerified = true
    this.#verified.resolve()
  }

  async suspend(reason: Error): Promise<void> {
    await this.discard(reason)
  }

  async discard(reason: Error): Promise<void> {
    this.#failure ??= reason
    this.#verified.reject(reason)
    this.#changed()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.discard(new Error('it was closed'))
  }

  async #read(buffer: Uint8Array, position: number, signal?: AbortSignal): Promise<number> {
    if (position >= this.size) return 0
    if (position < this.#start)
      throw new RangeError(`the bytes at ${position} were read before, and are gone`)
    for (;;) {
      this.#dropUntil(position)
      const [chunk] = this.#chunks
      if (chunk) {
        const piece = chunk.subarray(position - this.#start, position - this.#start + buffer.length)
        buffer.set(piece)
        return piece.length
      }
      if (this.#failure) throw this.#failure
      await abortable(this.#change.promise, signal)
    }
  }

  #dropUntil(position: number): void {
    for (
      let [chunk] = this.#chunks;
      chunk && this.#start + chunk.length <= position;
      [chunk] = this.#chunks
    ) {
      this.#chunks.shift()
      this.#start += chunk.length
      this.#held -= chunk.length
      this.#changed()
    }
  }

  #changed(): void {
    const waiting = this.#change
    this.#change = deferred()
    waiting.resolve()
  }
}
