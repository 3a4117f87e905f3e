import { type Digest, digestAlgorithm, digestOf } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/error.ts'
import type { BlobWriter } from '../blob-writer.ts'
import { StorageError } from '../error.ts'
import type { SealedFile } from '../partial.ts'
import type { MemoryFile, MemoryHooks } from './memory-partial.ts'

/** A `BlobWriter` in memory. Opened by `MemoryBlobStore`. */
export class MemoryBlobWriter implements BlobWriter {
  readonly id: string
  readonly #file: MemoryFile
  readonly #hooks: MemoryHooks
  #isResting = false
  #failure: Error | undefined

  constructor(id: string, file: MemoryFile, hooks: MemoryHooks) {
    this.id = id
    this.#file = file
    this.#hooks = hooks
  }

  get size(): number {
    return this.#file.present.total
  }

  get isOpen(): boolean {
    return this.#failure === undefined && !this.#isResting
  }

  async append(pieces: readonly Uint8Array[]): Promise<void> {
    if (this.#failure) throw this.#failure
    if (this.#isResting) await this.#hooks.step('open-partial')
    this.#isResting = false
    await this.#hooks.step('write')
    if (this.#failure) throw this.#failure
    this.#hooks.take(pieces.reduce((sum, { length }) => sum + length, 0))
    for (const piece of pieces) this.#file.write(this.size, piece, this.#hooks.now())
  }

  async rest(): Promise<void> {
    if (this.#failure) return
    await this.#hooks.step('suspend')
    this.#isResting = true
  }

  async verify(expected: Digest): Promise<void> {
    if (this.#failure) throw this.#failure
    const actual = digestOf(this.#file.bytes.subarray(0, this.size), digestAlgorithm(expected))
    if (actual !== expected) {
      throw new RegistryError('DIGEST_INVALID', `expected ${expected}, the bytes are ${actual}`)
    }
  }

  async seal(expected: Digest): Promise<SealedFile> {
    await this.verify(expected)
    try {
      await this.#hooks.step('sync')
      this.#file.isSynced = true
      await this.#hooks.publish(expected)
    } catch (error) {
      if (error instanceof StorageError && error.code === 'BUSY') throw error
      await this.discard(new Error('the disk failed', { cause: error }))
      throw error
    }
    this.#end(new Error(`upload ${this.id} is sealed`))
    return this.#file.sealed()
  }

  async suspend(reason: Error): Promise<void> {
    if (this.#failure) return
    this.#failure = reason
    try {
      await this.#hooks.step('suspend')
    } finally {
      this.#hooks.onEnd()
    }
  }

  async discard(reason: Error): Promise<void> {
    if (this.#failure) return
    this.#failure = reason
    try {
      await this.#hooks.step('discard')
      this.#hooks.remove()
    } finally {
      this.#hooks.onEnd()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.suspend(new Error(`upload ${this.id} was closed before it was whole`))
  }

  #end(reason: Error): void {
    this.#failure = reason
    this.#hooks.onEnd()
  }
}
