import type { Hash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { createDigestHash, type Digest, type DigestAlgorithm, finishDigest } from '../../oci/digest.ts'
import { StorageError } from '../error.ts'
import { Ranges, type ReadonlyRanges } from '../ranges.ts'
import { InlineHash, type RunningHash } from '../running-hash.ts'
import { fileErrorCode } from './file-errors.ts'
import type { JournalRecord } from './partial-journal.ts'
import { type PrefixThread, ThreadEnded, type ThreadHash } from './prefix-thread.ts'

const pieceSize = 1024 * 1024
/** Bytes that are told to the other thread at a time, and by how many it may be behind. */
const behind = { least: 1024 * 1024, most: 16 * 1024 * 1024 }

/**
 * The running hash of a file's contiguous prefix, which grows while ranges arrive in any order. Where this thread has no time
 * for it, another one hashes the file from its beginning, and follows what is written. Dispose of it at the end.
 */
export class PrefixHash implements Disposable {
  readonly #file: FileHandle
  readonly #algorithm: DigestAlgorithm
  #thread: PrefixThread | undefined
  #hash: Hash
  /** Takes the place of `#hash`. */
  #elsewhere: ThreadHash | undefined
  #present: ReadonlyRanges = new Ranges()
  #hashedUntil = 0
  #hasReadBack = false
  #catchingUp: Promise<void> | undefined
  /** Those who wait until all is hashed. */
  #waiting = 0

  /** The file stays open until `settled` resolves. */
  constructor(file: FileHandle, algorithm: DigestAlgorithm, thread?: PrefixThread) {
    this.#file = file
    this.#algorithm = algorithm
    this.#thread = thread
    this.#hash = createDigestHash(algorithm)
  }

  /** Bytes of the prefix that are hashed. */
  get hashedUntil(): number {
    return this.#hashedUntil
  }

  /** Whether bytes were hashed as the file gave them back, and not as they came: a disk that fails may have lost them before. */
  get hasReadBack(): boolean {
    return this.#hasReadBack
  }

  /**
   * Takes note that `bytes` are in the file at `position`. Bytes ahead of the prefix are hashed from the file
   * once the hole before them is closed, in the background; `settled` waits for that and tells of its errors.
   */
  advance(position: number, bytes: Uint8Array, present: ReadonlyRanges): void {
    this.#present = present
    if (this.#catchingUp) return
    if (position === this.#hashedUntil && !this.#elsewhere) {
      this.#hash.update(bytes)
      this.#hashedUntil += bytes.length
      this.#moveIfBusy()
    }
    this.#follow()
  }

  /** Waits until no more of the prefix is left to be hashed than what does no harm. Rejects as `settled`. */
  async nearlySettled(): Promise<void> {
    if (this.#left > behind.most) await this.settled()
  }

  /** Waits until all of the prefix is hashed. Rejects with the file system's error. */
  async settled(): Promise<void> {
    this.#waiting += 1
    try {
      this.#follow()
      // What was written meanwhile may have begun another round.
      while (this.#catchingUp) await this.#catchingUp
    } finally {
      this.#waiting -= 1
    }
  }

  /** The digest of what is hashed so far. */
  async digest(): Promise<Digest> {
    const elsewhere = this.#elsewhere
    try {
      if (elsewhere) return await elsewhere.digest()
    } catch (error) {
      this.#comeBack(error)
      await this.settled()
    }
    return finishDigest(this.#hash.copy(), this.#algorithm)
  }

  /** A copy of the hash of the first `hashedUntil` bytes, also after an error; to be disposed of by the caller. */
  copy(): RunningHash {
    return this.#elsewhere?.copy() ?? new InlineHash(this.#algorithm, this.#hash.copy())
  }

  [Symbol.dispose](): void {
    this.#elsewhere?.[Symbol.dispose]()
  }

  /**
   * Reads what the journal of an earlier process vouches for, drops what does not match its checksum or the disk cannot
   * read, and hashes the prefix, in one pass over the file. Returns the ranges that are good.
   */
  async recover(records: readonly JournalRecord[]): Promise<Ranges> {
    const present = new Ranges()
    const buffer = Buffer.allocUnsafeSlow(pieceSize)
    for (const { start, length, checksum } of records.toSorted((one, other) => one.start - other.start)) {
      const before = start === this.#hashedUntil ? this.#hash.copy() : undefined
      let actual = 0
      const read = await this.#readPieces(buffer, start, start + length, (piece) => {
        if (checksum !== undefined) actual = crc32(piece, actual)
        if (before) this.#hash.update(piece)
      }).catch(noneIfUnreadable)
      if (read === length && (checksum === undefined || actual === checksum)) {
        present.add(start, start + length)
        if (before) this.#hashedUntil = start + length
      } else if (before) {
        this.#hash = before
      }
    }
    // Records overlap where a torn run was fetched again in other pieces: then some start behind the hashed part.
    this.#present = present
    await this.settled()
    return present
  }

  /** Bytes of the prefix that are not hashed yet. */
  get #left(): number {
    return this.#present.presentUntil(this.#hashedUntil) - this.#hashedUntil
  }

  /** Whether so much is left that it is begun with. */
  get #isBehind(): boolean {
    const isAwaited = !this.#elsewhere || this.#waiting > 0
    return this.#left >= (isAwaited ? 1 : behind.least)
  }

  #moveIfBusy(): void {
    if (!this.#thread?.isWorthIt(this.#hashedUntil)) return
    this.#elsewhere = this.#thread.begin(this.#algorithm)
    this.#hashedUntil = 0
  }

  /** The other thread has ended: all is hashed here. Throws every other error. */
  #comeBack(error: unknown): void {
    if (!(error instanceof ThreadEnded)) throw error
    if (!this.#elsewhere) return
    this.#elsewhere = undefined
    this.#thread = undefined
    this.#hash = createDigestHash(this.#algorithm)
    this.#hashedUntil = 0
  }

  #follow(): void {
    if (this.#catchingUp || !this.#isBehind) return
    this.#catchingUp = this.#catchUp()
    // Whoever seals awaits it; nobody needs the rejection before.
    this.#catchingUp.catch(() => {})
  }

  async #catchUp(): Promise<void> {
    while (this.#isBehind) {
      this.#hasReadBack = true
      const until = this.#hashedUntil + this.#left
      const read = this.#elsewhere
        ? await this.#readElsewhere(this.#elsewhere, until)
        : await this.#readHere(until)
      if (read === 0) throw new StorageError('BROKEN', 'the file is shorter than what was written to it')
    }
    this.#catchingUp = undefined
  }

  async #readHere(until: number): Promise<number> {
    const buffer = Buffer.allocUnsafeSlow(Math.min(pieceSize, until - this.#hashedUntil))
    return this.#readPieces(buffer, this.#hashedUntil, until, (piece) => {
      this.#hash.update(piece)
      this.#hashedUntil += piece.length
    })
  }

  /** Returns how many bytes were read, or have to be read anew. */
  async #readElsewhere(elsewhere: ThreadHash, until: number): Promise<number> {
    try {
      const read = await elsewhere.read(this.#file.fd, this.#hashedUntil, until)
      this.#hashedUntil += read
      return read
    } catch (error) {
      this.#comeBack(error)
      return this.#left
    }
  }

  async #readPieces(
    buffer: Buffer,
    start: number,
    end: number,
    each: (piece: Buffer) => void,
  ): Promise<number> {
    let read = 0
    while (start + read < end) {
      const wanted = Math.min(buffer.length, end - start - read)
      const { bytesRead } = await this.#file.read(buffer, 0, wanted, start + read)
      if (bytesRead === 0) break
      each(buffer.subarray(0, bytesRead))
      read += bytesRead
    }
    return read
  }
}

/** Turns a sector that cannot be read (EIO) into no bytes; every other error is thrown on. */
function noneIfUnreadable(error: unknown): number {
  if (fileErrorCode(error) === 'EIO') return 0
  throw error
}
