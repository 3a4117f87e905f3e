import { untilAborted } from '../flow/abortable.ts'
import { bestEffort } from '../flow/best-effort.ts'
import { type Digest, type DigestAlgorithm, digestAlgorithm } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { StorageError } from '../storage/error.ts'
import type { Partial, SealedFile } from '../storage/partial.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import type { AskOptions } from './repository.ts'

/** The bytes of blobs, as far as pushing them needs. */
export interface PushedBytes {
  /** What an earlier attempt left under `id`, else a new one. May wait, until `signal` aborts. */
  openPartial(id: string, algorithm: DigestAlgorithm, signal: AbortSignal): Promise<Partial>
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
  /** Removes its file, which is not open. */
  readonly remove: (id: string) => Promise<void>
  /** It has come to its end, a good or a bad one. `isGone`: nothing of it is left on the disk. */
  readonly onEnd: (end: { readonly isGone: boolean }) => void
  /** Whether it was begun this moment, and has no file yet: that is made at the first byte. */
  readonly isNew: boolean
  /** In which its bytes are hashed as they come; where the digest turns out to be of another, once more at the end. */
  readonly algorithm?: DigestAlgorithm | undefined
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
  readonly #options: UploadSessionOptions
  readonly #bytes: PushedBytes
  readonly #stopped = new AbortController()
  #partial: Partial | undefined
  #algorithm: DigestAlgorithm
  /** Bytes that are here; undefined where only the disk knows. */
  #offset: number | undefined
  #writer: Writer | undefined
  /** Its file is being closed. */
  #closing: Promise<void> | undefined
  #isOver = false

  constructor(options: UploadSessionOptions) {
    const { id, repository, bytes, isNew, algorithm = 'sha256' } = options
    this.#options = options
    this.id = id
    this.repository = repository
    this.#bytes = bytes
    this.#algorithm = algorithm
    this.#offset = isNew ? 0 : undefined
  }

  /** Whether no request writes to it. */
  get isIdle(): boolean {
    return this.#writer === undefined
  }

  /** Whether its file is open. */
  get isOpen(): boolean {
    return this.#partial !== undefined
  }

  /** Whether there is nothing of it on the disk. */
  get isEmpty(): boolean {
    return this.#partial === undefined && this.#offset === 0
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
   * another request is writing. After a StorageError other than BUSY it has ended and its bytes are gone: a disk that is
   * full is not kept full by what cannot be finished.
   */
  async append(body: AsyncIterable<Uint8Array>, options: Appending): Promise<number> {
    return this.#alone(options.signal, () => this.#write(body, options))
  }

  /**
   * Appends the last bytes, and publishes the whole under its digest with `record`. Throws as `append`, and then the
   * session goes on or has ended; and RegistryError DIGEST_INVALID, StorageError, after which nothing is left of it.
   */
  async finish(
    digest: Digest,
    body: AsyncIterable<Uint8Array>,
    options: Appending & { readonly record: (file: SealedFile) => Promise<void> },
  ): Promise<void> {
    await this.#alone(options.signal, async () => {
      await this.#write(body, options)
      const partial = await this.#onDisk(() => this.#open(digestAlgorithm(digest)))
      try {
        await this.#bytes.seal(partial, digest, options.record)
      } catch (error) {
        await partial.discard(new Error('the upload was not what it was said to be', { cause: error }))
        throw error
      } finally {
        this.#partial = undefined
        this.#isOver = true
        this.#options.onEnd({ isGone: true })
        await partial[Symbol.asyncDispose]()
      }
    })
  }

  /** Ends it, and its bytes go. Throws as `append`. */
  async cancel(signal?: AbortSignal): Promise<void> {
    await this.#alone(signal, () => this.#drop(new Error('the upload was cancelled')))
  }

  /** Ends the request that writes to it, and closes its file, which stays for the next process. Nothing goes on after. */
  async stop(reason: Error): Promise<void> {
    this.#stopped.abort(reason)
    while (this.#writer ?? this.#closing) await (this.#writer?.ended ?? this.#closing)?.catch(() => {})
    await this.putAside(reason)
  }

  /** Closes its file, which stays for whoever goes on. */
  async putAside(reason: Error): Promise<void> {
    if (!this.#partial) return
    // The disk tells again: what it was told last may not have reached it.
    this.#offset = undefined
    const closing = this.pause(reason)
    await this.#hold({ isThere: () => false, ended: closing }, closing)
  }

  /** Closes its file between two pieces of the request that writes to it: the next one opens it again. */
  async pause(reason: Error): Promise<void> {
    const partial = this.#partial
    if (!partial) return
    this.#partial = undefined
    this.#closing = partial.suspend(reason)
    try {
      await this.#closing
    } finally {
      this.#closing = undefined
    }
  }

  async #write(body: AsyncIterable<Uint8Array>, { start, signal }: Appending): Promise<number> {
    if (this.#offset === undefined) await this.#onDisk(() => this.#open())
    let offset = this.#offset ?? 0
    if (start !== undefined && start !== offset) {
      const message = `the upload has ${offset} bytes, and the next ones go there, not to ${start}`
      throw new RegistryError('BLOB_UPLOAD_INVALID', message, { status: 416 })
    }
    for await (const piece of untilAborted(body, this.#stopped.signal)) {
      signal?.throwIfAborted()
      await this.#onDisk(async () => (this.#partial ?? (await this.#open())).write(offset, piece))
      offset += piece.length
      this.#offset = offset
      this.usedAt = Date.now()
    }
    return offset
  }

  /** The file; opened once, and once more where the digest turns out to be of the other algorithm. */
  async #open(algorithm: DigestAlgorithm = this.#algorithm): Promise<Partial> {
    await this.#closing?.catch(() => {})
    if (this.#partial && algorithm === this.#algorithm) return this.#partial
    await this.#partial?.suspend(new Error('its bytes are hashed in another way'))
    this.#partial = undefined
    this.#algorithm = algorithm
    this.#partial = await this.#bytes.openPartial(this.id, algorithm, this.#stopped.signal)
    this.#offset = this.#partial.present.presentUntil(0)
    return this.#partial
  }

  async #onDisk<Value>(work: () => Promise<Value>): Promise<Value> {
    try {
      return await work()
    } catch (error) {
      const isPassing = error instanceof StorageError && error.code === 'BUSY'
      if (!isPassing && !this.#stopped.signal.aborted) {
        await bestEffort(this.#drop(new Error('the disk failed', { cause: error })), () => {})
      }
      throw error
    }
  }

  async #drop(reason: Error): Promise<void> {
    const partial = this.#partial
    this.#partial = undefined
    this.#isOver = true
    let isGone = false
    try {
      await partial?.discard(reason)
      await this.#options.remove(this.id)
      isGone = true
    } finally {
      this.#options.onEnd({ isGone })
    }
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
    while (this.#writer ?? this.#closing) {
      if (this.#writer?.isThere()) {
        const message = 'another request is writing to this upload: wait for its end, or begin another upload'
        throw new RegistryError('BLOB_UPLOAD_INVALID', message, { status: 409 })
      }
      await (this.#writer?.ended ?? this.#closing)?.catch(() => {})
    }
    // What it waited for was the end of the upload, whose answer the client did not wait for.
    if (this.#isOver) throw uploadUnknown()
    this.#stopped.signal.throwIfAborted()
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
