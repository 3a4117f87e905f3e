import { type Digest, type DigestAlgorithm, digestAlgorithm } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { Partial, SealedFile } from '../storage/partial.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import type { AskOptions } from './repository.ts'

/** The bytes of blobs, as far as pushing them needs. */
export interface PushedBytes {
  /** What an earlier attempt left under `id`, else a new one. */
  openPartial(id: string, algorithm: DigestAlgorithm): Promise<Partial>
  /**
   * Verifies and publishes what is in the partial, and records it, as one step to whoever removes bytes. Throws
   * RegistryError DIGEST_INVALID where it is something else; the partial is then as it was.
   */
  seal(partial: Partial, digest: Digest, record: (file: SealedFile) => Promise<void>): Promise<unknown>
}

export interface UploadSessionOptions {
  readonly id: string
  readonly repository: RepositoryKey
  readonly bytes: PushedBytes
  /** Whether it was begun this moment, and has no file yet: that is made at the first byte. */
  readonly isNew: boolean
}

/** Bytes that follow those that are here; `start`: where whoever sends them believes that they go. */
export type Appending = AskOptions & { readonly start?: number | undefined }

/** Who has the session for itself. */
interface Writer {
  /** Whether the client of that request is there. */
  readonly isThere: () => boolean
  readonly ended: Promise<unknown>
}

/** One blob on its way in, and the one request that may write to it. */
export class UploadSession {
  readonly id: string
  readonly repository: RepositoryKey
  /** Milliseconds since the epoch. */
  usedAt = Date.now()
  readonly #bytes: PushedBytes
  #partial: Partial | undefined
  #algorithm: DigestAlgorithm = 'sha256'
  /** Bytes that are here; undefined where only the disk knows. */
  #offset: number | undefined
  #writer: Writer | undefined
  #isOver = false

  constructor({ id, repository, bytes, isNew }: UploadSessionOptions) {
    this.id = id
    this.repository = repository
    this.#bytes = bytes
    this.#offset = isNew ? 0 : undefined
  }

  /** Whether no request writes to it. */
  get isIdle(): boolean {
    return this.#writer === undefined
  }

  /** Bytes that are here. */
  async offset(): Promise<number> {
    if (this.#offset !== undefined) return this.#offset
    return this.#alone(undefined, async () => {
      await this.#open()
      return this.#offset ?? 0
    })
  }

  /**
   * Writes what `body` brings behind what is here, as it comes, and returns how much that is then, in bytes. What came
   * before `body` failed stays. Throws RegistryError BLOB_UPLOAD_INVALID: 416 where `start` is another place, 409 where
   * another request is writing.
   */
  async append(body: AsyncIterable<Uint8Array>, options: Appending): Promise<number> {
    return this.#alone(options.signal, () => this.#write(body, options))
  }

  /**
   * Appends the last bytes, and publishes the whole under its digest with `record`. Throws as `append`, and then the
   * session goes on; and RegistryError DIGEST_INVALID, StorageError, after which nothing is left of it.
   */
  async finish(
    digest: Digest,
    body: AsyncIterable<Uint8Array>,
    options: Appending & {
      readonly record: (file: SealedFile) => Promise<void>
      readonly onEnd: () => void
    },
  ): Promise<void> {
    await this.#alone(options.signal, async () => {
      await this.#write(body, options)
      const partial = await this.#open(digestAlgorithm(digest))
      try {
        await this.#bytes.seal(partial, digest, options.record)
      } catch (error) {
        await partial.discard(new Error('the upload was not what it was said to be', { cause: error }))
        throw error
      } finally {
        this.#isOver = true
        options.onEnd()
        await partial[Symbol.asyncDispose]()
      }
    })
  }

  /** Closes its file, which stays for whoever goes on. */
  async putAside(reason: Error): Promise<void> {
    const partial = this.#partial
    if (!partial) return
    this.#partial = undefined
    // The disk tells again: what it was told last may not have reached it.
    this.#offset = undefined
    const closing = partial.suspend(reason)
    await this.#hold({ isThere: () => false, ended: closing }, closing)
  }

  async #write(body: AsyncIterable<Uint8Array>, { start, signal }: Appending): Promise<number> {
    if (this.#offset === undefined) await this.#open()
    let offset = this.#offset ?? 0
    if (start !== undefined && start !== offset) {
      const message = `the upload has ${offset} bytes, and the next ones go there, not to ${start}`
      throw new RegistryError('BLOB_UPLOAD_INVALID', message, { status: 416 })
    }
    for await (const piece of body) {
      signal?.throwIfAborted()
      await (this.#partial ?? (await this.#open())).write(offset, piece)
      offset += piece.length
      this.#offset = offset
      this.usedAt = Date.now()
    }
    return offset
  }

  /** The file; opened once, and once more where the digest turns out to be of the other algorithm. */
  async #open(algorithm: DigestAlgorithm = this.#algorithm): Promise<Partial> {
    if (this.#partial && algorithm === this.#algorithm) return this.#partial
    await this.#partial?.suspend(new Error('its bytes are hashed in another way'))
    this.#algorithm = algorithm
    this.#partial = await this.#bytes.openPartial(this.id, algorithm)
    this.#offset = this.#partial.present.presentUntil(0)
    return this.#partial
  }

  /**
   * One request at a time.
   * 1. A client's connection breaks in the middle of a PATCH.
   * 2. It connects anew, asks how much is here, and sends the rest.
   * 3. The first request is told that its client is gone, and its last piece is still being written.
   * So whoever comes second waits for a first one that is about to end. While the first one's client is there, it is
   * refused: the bytes of two would mix.
   */
  async #alone<Value>(signal: AbortSignal | undefined, work: () => Promise<Value>): Promise<Value> {
    while (this.#writer) {
      if (this.#writer.isThere()) {
        const message = 'another request is writing to this upload: wait for its end, or begin another upload'
        throw new RegistryError('BLOB_UPLOAD_INVALID', message, { status: 409 })
      }
      await this.#writer.ended.catch(() => {})
    }
    // What it waited for was the end of the upload, whose answer the client did not wait for.
    if (this.#isOver) throw uploadUnknown()
    const working = work()
    return this.#hold({ isThere: () => signal?.aborted === false, ended: working }, working)
  }

  async #hold<Value>(writer: Writer, working: Promise<Value>): Promise<Value> {
    this.#writer = writer
    this.usedAt = Date.now()
    try {
      return await working
    } finally {
      this.#writer = undefined
    }
  }
}

/** There is no such session. */
export function uploadUnknown(): RegistryError {
  const message = 'there is no such upload here: it has ended, or is too old; begin the blob again'
  return new RegistryError('BLOB_UPLOAD_UNKNOWN', message)
}
