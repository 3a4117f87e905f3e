import type { Hash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import { crc32 } from 'node:zlib'
import { createDigestHash, type Digest, type DigestAlgorithm, finishDigest } from '../../oci/digest.ts'
import { StorageError } from '../error.ts'
import { Ranges, type ReadonlyRanges } from '../ranges.ts'
import { fileErrorCode } from './file-errors.ts'
import type { JournalRecord } from './partial-journal.ts'

const pieceSize = 1024 * 1024

/** The running hash of a file's contiguous prefix, which grows while ranges arrive in any order. */
export class PrefixHash {
  readonly #file: FileHandle
  readonly #algorithm: DigestAlgorithm
  #hash: Hash
  #hashedUntil = 0
  #catchingUp: Promise<void> | undefined

  constructor(file: FileHandle, algorithm: DigestAlgorithm) {
    this.#file = file
    this.#algorithm = algorithm
    this.#hash = createDigestHash(algorithm)
  }

  /** Bytes of the prefix that are hashed. */
  get hashedUntil(): number {
    return this.#hashedUntil
  }

  /**
   * Takes note that `bytes` are in the file at `position`. Bytes ahead of the prefix are hashed from the file
   * once the hole before them is closed, in the background; `settled` waits for that and tells of its errors.
   */
  advance(position: number, bytes: Uint8Array, present: ReadonlyRanges): void {
    if (this.#catchingUp) return
    if (position === this.#hashedUntil) {
      this.#hash.update(bytes)
      this.#hashedUntil += bytes.length
    }
    if (present.presentUntil(this.#hashedUntil) === this.#hashedUntil) return
    this.#catchingUp = this.#catchUp(present)
    // Whoever seals awaits it; nobody needs the rejection before.
    this.#catchingUp.catch(() => {})
  }

  /** Waits until all of the prefix is hashed. Rejects with the file system's error. */
  async settled(): Promise<void> {
    // What was written meanwhile may have begun another round.
    while (this.#catchingUp) await this.#catchingUp
  }

  /** The digest of what is hashed so far. */
  digest(): Digest {
    return finishDigest(this.copy(), this.#algorithm)
  }

  /** A copy of the hash of the first `hashedUntil` bytes, also after an error. */
  copy(): Hash {
    return this.#hash.copy()
  }

  /**
   * Reads what the journal of an earlier process vouches for, drops what a power cut tore or the disk cannot
   * read, and hashes the prefix, in one pass over the file. Returns the ranges that are good.
   */
  async recover(records: readonly JournalRecord[]): Promise<Ranges> {
    const present = new Ranges()
    const buffer = Buffer.allocUnsafeSlow(pieceSize)
    for (const { start, length, checksum } of records.toSorted((one, other) => one.start - other.start)) {
      const before = start === this.#hashedUntil ? this.#hash.copy() : undefined
      let actual = 0
      const read = await this.#readPieces(buffer, start, start + length, (piece) => {
        actual = crc32(piece, actual)
        if (before) this.#hash.update(piece)
      }).catch(noneIfUnreadable)
      if (read === length && actual === checksum) {
        present.add(start, start + length)
        if (before) this.#hashedUntil = start + length
      } else if (before) {
        this.#hash = before
      }
    }
    // Records overlap where a torn run was fetched again in other pieces: then some start behind the hashed part.
    await this.#catchUp(present)
    return present
  }

  async #catchUp(present: ReadonlyRanges): Promise<void> {
    const buffer = Buffer.allocUnsafeSlow(pieceSize)
    for (;;) {
      const until = present.presentUntil(this.#hashedUntil)
      if (until === this.#hashedUntil) break
      const read = await this.#readPieces(buffer, this.#hashedUntil, until, (piece) => {
        this.#hash.update(piece)
        this.#hashedUntil += piece.length
      })
      if (read === 0) throw new StorageError('BROKEN', 'the file is shorter than what was written to it')
    }
    this.#catchingUp = undefined
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
