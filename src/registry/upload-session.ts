import { untilAborted } from '../flow/abortable.ts'
import { bestEffort } from '../flow/best-effort.ts'
import { gathered } from '../flow/gathered.ts'
import { type Digest, type DigestAlgorithm, digestAlgorithm } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { BlobWriter } from '../storage/blob-writer.ts'
import { StorageError } from '../storage/error.ts'
import type { SealedFile } from '../storage/partial.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import type { PushedBytes, PushedRoom } from './pushed-bytes.ts'
import type { PushOptions } from './repository.ts'
import { UploadUse, type UploadUseOptions } from './upload-use.ts'

export interface UploadSessionOptions extends UploadUseOptions {
  readonly id: string
  readonly repository: RepositoryKey
  /** The user whose it is; undefined: whose who knows its id. */
  readonly owner?: string | undefined
  readonly bytes: PushedBytes
  /** Removes its file, which is not open. */
  readonly remove: (id: string) => Promise<void>
  /** Throws RegistryError where so many bytes more are not to be had. */
  readonly take: (session: UploadSession, bytes: number) => Promise<void>
  /** Bytes to be written at a time. */
  readonly pieceBytes: () => number
  /** It has come to its end: with a blob, without one, or without one and with something left on the disk. */
  readonly onEnd: (end: 'sealed' | 'gone' | 'left') => void
  /** Bytes of its file, 0 where it has none yet: that is made at the first byte. Undefined where only the disk knows. */
  readonly size: number | undefined
  /** Resolves when it is recorded that there is this upload; never rejects. */
  readonly recorded?: Promise<void> | undefined
  /** In which its bytes are hashed as they come; where the digest turns out to be of another, once more at the end. */
  readonly algorithm?: DigestAlgorithm | undefined
}

/** Bytes that follow those that are here; `start`: where whoever sends them believes that they go. */
export type Appending = PushOptions & {
  readonly start?: number | undefined
  /** Bytes that there are, where that is told: what there is no room for is refused before it is read. */
  readonly length?: number | undefined
}

/** Bytes of a request for which the disk is not asked first: many blobs are small, and it says so in time. */
const tried = 1024 * 1024

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
  readonly #owner: string | undefined
  readonly use: UploadUse
  readonly #options: UploadSessionOptions
  readonly #bytes: PushedBytes
  readonly #stopped = new AbortController()
  #algorithm: DigestAlgorithm
  #file: BlobWriter | undefined
  /** Bytes that are here; undefined where only the disk knows. */
  #offset: number | undefined
  #writer: Writer | undefined
  #isOver = false

  constructor(options: UploadSessionOptions) {
    const { id, repository, owner, bytes, size, algorithm = 'sha256' } = options
    this.#options = options
    this.id = id
    this.repository = repository
    this.#owner = owner
    this.#bytes = bytes
    this.#algorithm = algorithm
    this.#offset = size
    this.use = new UploadUse(options)
  }

  /** Whether it is one of this repository that this user may go on with. */
  isOf(repository: RepositoryKey, user: string | undefined): boolean {
    return this.repository === repository && (this.#owner === undefined || this.#owner === user)
  }

  /** Whether no request writes to it. */
  get isIdle(): boolean {
    return this.#writer === undefined
  }

  /** Whether its file is open. */
  get isOpen(): boolean {
    return this.#file?.isOpen === true
  }

  /** Bytes that are here, as far as that is known. */
  get size(): number {
    return this.#offset ?? 0
  }

  /** Whether there is nothing of it on the disk. */
  get isEmpty(): boolean {
    return this.#file === undefined && this.#offset === 0
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
   * before `body` failed stays. Throws RegistryError BLOB_UPLOAD_INVALID (416) where `start` is another place, or another
   * request is writing. After a StorageError other than BUSY it has ended and its bytes are gone: a disk that is
   * full is not kept full by what cannot be finished.
   */
  async append(body: AsyncIterable<Uint8Array>, options: Appending): Promise<number> {
    return this.#alone(options.signal, async () => {
      const offset = await this.#write(body, options)
      // A process that is killed finds the bytes by this.
      await this.#options.recorded
      return offset
    })
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
      this.#algorithm = digestAlgorithm(digest)
      await this.#write(body, options)
      const file = await this.#onDisk(() => this.#open())
      let end: 'sealed' | 'gone' = 'gone'
      try {
        await this.#bytes.seal(file, digest, options.record)
        end = 'sealed'
      } catch (error) {
        this.#bytes.failed(error)
        await file.discard(new Error('the upload was not what it was said to be', { cause: error }))
        throw error
      } finally {
        this.#file = undefined
        this.#isOver = true
        this.#options.onEnd(end)
        await file[Symbol.asyncDispose]()
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
    while (this.#writer) await this.#writer.ended.catch(() => {})
    await this.#file?.suspend(reason)
    this.#file = undefined
  }

  /** Closes its file, which stays for whoever goes on in this process. */
  async putAside(): Promise<void> {
    await this.#file?.rest()
  }

  async #write(body: AsyncIterable<Uint8Array>, { start, length = 0, signal }: Appending): Promise<number> {
    if (this.#offset === undefined) await this.#onDisk(() => this.#open())
    let offset = this.#offset ?? 0
    if (start !== undefined && start !== offset) {
      const message = `the upload has ${offset} bytes, and the next ones go there, not to ${start}`
      throw new RegistryError('BLOB_UPLOAD_INVALID', message, { status: 416 })
    }
    const { take, pieceBytes } = this.#options
    const stopped = this.#stopped.signal
    using room = this.#bytes.reserve('push', () => this.size)
    if (length > 0) await take(this, length)
    if (length > tried) await this.#onDisk(async () => isThere(await room.reserve(offset + length, stopped)))
    const untold = offset + tried
    for await (const pieces of untilAborted(gathered(body, { limit: pieceBytes }), stopped)) {
      const bytes = pieces.reduce((sum, { length }) => sum + length, 0)
      const end = offset + bytes
      await take(this, bytes)
      await this.#onDisk(async () => {
        if (end > untold && !room.has(end)) isThere(await room.take(end, stopped))
        await this.#append(pieces, bytes, room)
      })
      offset = end
      this.#offset = end
      signal?.throwIfAborted()
    }
    return offset
  }

  /** Where the disk is full all the same, what is cached makes room. */
  async #append(pieces: readonly Uint8Array[], bytes: number, room: PushedRoom): Promise<void> {
    const file = await this.#open()
    try {
      await file.append(pieces)
    } catch (error) {
      const isFull = error instanceof StorageError && error.code === 'FULL'
      if (!isFull || !(await room.afterFull(bytes, this.#stopped.signal))) throw error
      await file.append(pieces)
    }
  }

  async #open(): Promise<BlobWriter> {
    if (this.#file) return this.#file
    this.#file = await this.#bytes.openWriter(this.id, this.#algorithm, this.#stopped.signal)
    this.#offset = this.#file.size
    return this.#file
  }

  async #onDisk<Value>(work: () => Promise<Value>): Promise<Value> {
    try {
      return await work()
    } catch (error) {
      const isPassing = error instanceof StorageError && error.code === 'BUSY'
      if (!isPassing && !this.#stopped.signal.aborted) {
        this.#bytes.failed(error)
        await bestEffort(this.#drop(new Error('the disk failed', { cause: error })), () => {})
      }
      throw error
    }
  }

  async #drop(reason: Error): Promise<void> {
    const file = this.#file
    this.#file = undefined
    this.#isOver = true
    let end: 'gone' | 'left' = 'left'
    try {
      await file?.discard(reason)
      await this.#options.remove(this.id)
      end = 'gone'
    } finally {
      this.#options.onEnd(end)
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
    while (this.#writer) {
      if (this.#writer.isThere()) {
        const message = 'another request is writing to this upload: wait for its end, or begin another upload'
        throw new RegistryError('BLOB_UPLOAD_INVALID', message, { status: 416 })
      }
      await this.#writer.ended.catch(() => {})
    }
    // What it waited for was the end of the upload, whose answer the client did not wait for.
    if (this.#isOver) throw uploadUnknown()
    this.#stopped.signal.throwIfAborted()
    const working = work()
    return this.#hold({ isThere: () => signal?.aborted === false, ended: working }, working)
  }

  async #hold<Value>(writer: Writer, working: Promise<Value>): Promise<Value> {
    using _ = this.use.begin()
    this.#writer = writer
    try {
      return await working
    } finally {
      this.#writer = undefined
    }
  }
}

function isThere(hasRoom: boolean): void {
  if (!hasRoom) throw new StorageError('FULL', 'the disk has no room for so many bytes more')
}

/** There is no such session. */
export function uploadUnknown(): RegistryError {
  const message = 'there is no such upload here: it has ended, or is too old; begin the blob again'
  return new RegistryError('BLOB_UPLOAD_UNKNOWN', message)
}
