import type { Hash } from 'node:crypto'
import { fstatSync } from 'node:fs'
import { type FileHandle, open, rm } from 'node:fs/promises'
import {
  createDigestHash,
  type Digest,
  type DigestAlgorithm,
  digestAlgorithm,
  finishDigest,
} from '../../oci/digest.ts'
import { RegistryError } from '../../oci/error.ts'
import type { BlobWriter, BlobWriterOptions } from '../blob-writer.ts'
import { asStorageError, StorageError } from '../error.ts'
import type { SealedFile } from '../partial.ts'
import { fileErrorCode } from './file-errors.ts'
import type { PartialHooks } from './file-partial.ts'
import { sealedFile } from './sealed-file.ts'
import { SyncPolicy, syncBytes } from './sync-policy.ts'

/** Bytes that are read at a time. */
const pieceSize = 1024 * 1024

/** `beforeWrite` throws where nothing may be written. */
type WriterHooks = PartialHooks & { readonly beforeWrite: () => void }

/** A `BlobWriter` in a file. Opened by `FileBlobWriters`. */
export class FileBlobWriter implements BlobWriter {
  readonly id: string
  readonly #path: string
  readonly #hooks: WriterHooks
  #algorithm: DigestAlgorithm
  #size = 0
  /** Undefined while it rests. */
  #file: FileHandle | undefined
  /** Of the first `size` bytes; undefined where it has to be computed from the file. */
  #hash: Hash | undefined
  #sync: SyncPolicy | undefined
  /** Of the file, when it was written to last. */
  #trace: string | undefined
  /** What is under way with the file: one thing at a time. */
  #working: Promise<unknown> = Promise.resolve()
  #failure: Error | undefined
  /** A sync has failed: what is in the file may be lost, and nobody would be told again. */
  #isLost = false
  #hasEnded = false

  private constructor(path: string, { id, algorithm }: BlobWriterOptions, hooks: WriterHooks) {
    this.id = id
    this.#path = path
    this.#algorithm = algorithm
    this.#hooks = hooks
  }

  /** Goes on with the file at `path`, or makes it. Throws the file system's error. */
  static async open(path: string, options: BlobWriterOptions, hooks: WriterHooks): Promise<FileBlobWriter> {
    const writer = new FileBlobWriter(path, options, hooks)
    try {
      writer.#hold(await open(path, 'wx+'))
      writer.#hash = createDigestHash(options.algorithm)
    } catch (error) {
      if (fileErrorCode(error) !== 'EEXIST') throw error
      const file = writer.#hold(await open(path, 'r+'))
      writer.#size = await closedOnFailure(file, async () => (await file.stat()).size)
    }
    return writer
  }

  get size(): number {
    return this.#size
  }

  get isOpen(): boolean {
    return this.#file !== undefined
  }

  append(pieces: readonly Uint8Array[]): Promise<void> {
    return this.#alone(async () => {
      const writing = this.#append(pieces)
      await asStorageError(`upload ${this.id} could not be written`, writing)
    })
  }

  rest(): Promise<void> {
    return this.#afterAll(async () => {
      await this.#sync?.settled()
      const file = this.#file
      this.#file = undefined
      await asStorageError(`upload ${this.id} could not be closed`, Promise.resolve(file?.close()))
    })
  }

  verify(expected: Digest): Promise<void> {
    return this.#alone(() => this.#verify(expected))
  }

  seal(expected: Digest): Promise<SealedFile> {
    return this.#alone(async () => {
      await this.#verify(expected)
      try {
        const sealed = await this.#publish(expected)
        await this.#end(new Error(`upload ${this.id} is sealed`))
        return sealed
      } catch (error) {
        const told = StorageError.from(error, `${expected} could not be stored`)
        // Descriptors were short: nothing has happened to the file.
        const isPassing = told instanceof StorageError && told.code === 'BUSY'
        if (!isPassing) await this.#end(new Error('the disk failed', { cause: told }), { removes: true })
        throw told
      }
    })
  }

  async suspend(reason: Error): Promise<void> {
    await this.#afterAll(() => this.#end(reason))
  }

  async discard(reason: Error): Promise<void> {
    // What waits for its turn is not written any more.
    this.#failure ??= reason
    await this.#afterAll(() => this.#end(reason, { removes: true }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.suspend(new Error(`upload ${this.id} was closed before it was whole`))
  }

  async #append(pieces: readonly Uint8Array[]): Promise<void> {
    this.#hooks.beforeWrite()
    const file = await this.#opened()
    this.#doubtIfTouched(file)
    const hash = this.#hash ?? (await this.#rehash(this.#algorithm))
    const total = pieces.reduce((sum, { length }) => sum + length, 0)
    // Written by another thread, and hashed by this one meanwhile: where the file fails, the hash is of no use.
    this.#hash = undefined
    const writing = writeAll(file, pieces, this.#size)
    for (const piece of pieces) hash.update(piece)
    await writing
    this.#hash = hash
    this.#size += total
    this.#trace = traceOf(file)
    this.#sync?.wrote(total)
  }

  async #verify(expected: Digest): Promise<void> {
    const algorithm = digestAlgorithm(expected)
    this.#doubtIfTouched(await asStorageError(`upload ${this.id} could not be opened`, this.#opened()))
    const isHashed = this.#hash !== undefined && algorithm === this.#algorithm
    const hashing = isHashed ? undefined : this.#rehash(algorithm)
    await asStorageError(`upload ${this.id} could not be hashed`, Promise.resolve(hashing))
    const actual = this.#hash && finishDigest(this.#hash.copy(), algorithm)
    if (actual !== expected) {
      throw new RegistryError('DIGEST_INVALID', `expected ${expected}, the bytes are ${actual}`)
    }
  }

  async #publish(digest: Digest): Promise<SealedFile> {
    const file = await this.#opened()
    await this.#sync?.settled()
    if (this.#failure) throw this.#failure
    // A write that failed or was killed half-way may have left bytes behind the end.
    if (this.#statsOf(file).size > this.#size) await file.truncate(this.#size)
    const sealed = this.#statsOf(file)
    await syncBytes(file, `upload ${this.id}`)
    if (sealed.size !== this.#size) throw new StorageError('BROKEN', `upload ${this.id} became shorter`)
    await this.#hooks.publish(this.#path, digest, sealed.size)
    return sealed
  }

  /** At once: nobody reads the disk for what is known of an open file, and another thread would cost more. */
  #statsOf({ fd }: FileHandle): SealedFile {
    return sealedFile(fstatSync(fd, { bigint: true }))
  }

  /** Somebody else has written to it: what counts is what is in it now. */
  #doubtIfTouched(file: FileHandle): void {
    if (this.#trace !== undefined && traceOf(file) !== this.#trace) this.#hash = undefined
  }

  async #opened(): Promise<FileHandle> {
    return this.#file ?? this.#hold(await open(this.#path, 'r+'))
  }

  #hold(file: FileHandle): FileHandle {
    this.#file = file
    this.#sync = new SyncPolicy(file, `upload ${this.id}`, (error) => {
      this.#failure ??= error
      this.#isLost = true
    })
    return file
  }

  /** Hashes what is in the file. */
  async #rehash(algorithm: DigestAlgorithm): Promise<Hash> {
    const file = await this.#opened()
    const hash = createDigestHash(algorithm)
    const buffer = Buffer.allocUnsafeSlow(Math.min(pieceSize, this.#size))
    for (let at = 0; at < this.#size; ) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, this.#size - at), at)
      if (bytesRead === 0) throw new StorageError('BROKEN', `upload ${this.id} became shorter`)
      hash.update(buffer.subarray(0, bytesRead))
      at += bytesRead
    }
    this.#algorithm = algorithm
    this.#hash = hash
    return hash
  }

  /** Does `work` when all before has ended, however. Throws the reason of an end. */
  #alone<Value>(work: () => Promise<Value>): Promise<Value> {
    return this.#afterAll(async () => {
      if (this.#failure) throw this.#failure
      return work()
    })
  }

  #afterAll<Value>(work: () => Promise<Value>): Promise<Value> {
    const working = this.#working.then(work)
    this.#working = working.catch(() => {})
    return working
  }

  async #end(reason: Error, { removes = false } = {}): Promise<void> {
    this.#failure ??= reason
    if (this.#hasEnded) return
    this.#hasEnded = true
    try {
      await this.#sync?.settled()
      const [closed] = await Promise.allSettled([this.#file?.close()])
      this.#file = undefined
      if (removes || this.#isLost) await rm(this.#path, { force: true })
      if (closed.status === 'rejected') throw closed.reason
    } catch (error) {
      throw StorageError.from(error, `upload ${this.id} could not be closed`)
    } finally {
      this.#hooks.onEnd(removes ? 'gone' : 'stays')
    }
  }
}

function traceOf({ fd }: FileHandle): string {
  const { ino, size, mtimeNs } = fstatSync(fd, { bigint: true })
  return `${ino} ${size} ${mtimeNs}`
}

async function closedOnFailure<Value>(file: FileHandle, work: () => Promise<Value>): Promise<Value> {
  try {
    return await work()
  } catch (error) {
    await file.close()
    throw error
  }
}

async function writeAll(file: FileHandle, pieces: readonly Uint8Array[], start: number): Promise<void> {
  let [left, position] = [pieces, start]
  while (left.length > 0) {
    let { bytesWritten } = await file.writev(left, position)
    position += bytesWritten
    const whole = left.findIndex((piece) => {
      if (piece.length > bytesWritten) return true
      bytesWritten -= piece.length
      return false
    })
    const [first, ...rest] = whole < 0 ? [] : left.slice(whole)
    left = first ? [first.subarray(bytesWritten), ...rest] : []
  }
}
