import type { Hash } from 'node:crypto'
import { createDigestHash, type Digest, type DigestAlgorithm, finishDigest } from '../oci/digest.ts'

/** A hash of bytes that come one after the other. To be disposed of by its owner. */
export interface RunningHash extends Disposable {
  /** Goes on with these bytes. Resolves when they may be overwritten. */
  update(bytes: Uint8Array): Promise<void>
  /** Of all that it was given so far; it goes on after that. */
  digest(): Promise<Digest>
  /** Another one of the same bytes, to be disposed of by the caller. */
  copy(): RunningHash
}

/** Hashes at once, where it is called. */
export class InlineHash implements RunningHash {
  readonly #algorithm: DigestAlgorithm
  readonly #hash: Hash

  /** Goes on with `hash`, which nobody else uses from now on. */
  constructor(algorithm: DigestAlgorithm, hash: Hash = createDigestHash(algorithm)) {
    this.#algorithm = algorithm
    this.#hash = hash
  }

  async update(bytes: Uint8Array): Promise<void> {
    this.#hash.update(bytes)
  }

  async digest(): Promise<Digest> {
    return finishDigest(this.#hash.copy(), this.#algorithm)
  }

  copy(): InlineHash {
    return new InlineHash(this.#algorithm, this.#hash.copy())
  }

  [Symbol.dispose](): void {}
}
