import type { LentBytes } from '../flow/lent-bytes.ts'
import type { BlobReader } from '../storage/blob-reader.ts'

/**
 * A reader of a blob whose bytes are still waited for, and the right to them as well: what is read is handed out only
 * once `confirm` has resolved, which is asked when the first bytes are here. So the headers of an answer can leave before.
 */
export class UnconfirmedReader implements BlobReader {
  readonly #reader: BlobReader
  readonly #confirm: () => Promise<void>
  #confirming: Promise<void> | undefined
  #isConfirmed = false

  /** Closes `reader` when it is closed. */
  constructor(reader: BlobReader, confirm: () => Promise<void>) {
    this.#reader = reader
    this.#confirm = confirm
  }

  get size(): number {
    return this.#reader.size
  }

  get isVerified(): boolean {
    return this.#isConfirmed && this.#reader.isVerified
  }

  get givesParts(): boolean | undefined {
    return this.#reader.givesParts
  }

  async verified(options?: { signal?: AbortSignal }): Promise<void> {
    await this.#reader.verified(options)
    await this.#confirmed()
  }

  async read(buffer: Uint8Array, position: number, options?: { signal?: AbortSignal }): Promise<number> {
    const bytes = await this.#reader.read(buffer, position, options)
    if (!this.#isConfirmed) await this.#confirmed()
    return bytes
  }

  /** The first bytes have to be read: nothing is held while the right to them is asked for. */
  async lend(position: number, options?: { signal?: AbortSignal }): Promise<LentBytes | undefined> {
    return this.#isConfirmed ? this.#reader.lend?.(position, options) : undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader[Symbol.asyncDispose]()
  }

  async #confirmed(): Promise<void> {
    this.#confirming ??= this.#confirm()
    await this.#confirming
    this.#isConfirmed = true
  }
}
