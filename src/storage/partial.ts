import type { LentBytes } from '../flow/lent-bytes.ts'
import type { Digest } from '../oci/digest.ts'
import type { ReadonlyRanges } from './ranges.ts'
import type { RunningHash } from './running-hash.ts'

/** What is recorded of a file when it is sealed, and compared at each open: a file that was touched since differs. */
export interface SealedFile {
  /** Bytes. */
  readonly size: number
  /** Whole milliseconds since the epoch. */
  readonly mtime: number
  /** A whole number that SQLite and JavaScript can hold: the low 52 bits of what the file system says. */
  readonly inode: number
}

/**
 * A file with holes that is not whole yet: a fill from upstream, or a push. It is dumb: nobody waits in it, nobody
 * is told of what arrives, and it has no size, which its owner knows. The present ranges are journalled, so that a
 * later process goes on where this one was (docs/decisions/0002). Its owner ends it exactly once, by `seal`,
 * `suspend` or `discard`; disposing suspends what nobody ended. Every implementation passes
 * `test/storage/partial.contract.ts`, those of stores `partial-*.contract.ts` too.
 */
export interface Partial extends AsyncDisposable {
  readonly id: string
  readonly present: ReadonlyRanges
  /** Bytes of the contiguous prefix that are hashed. */
  readonly hashedUntil: number
  /** The first position whose byte is still kept: 0, but for a window in memory. */
  readonly keptFrom: number
  /**
   * Writes bytes at a position, in any order. Bytes that are present already are left alone: the first writer
   * wins. It holds them for as long as it needs them. Resolves when they can be read. Throws StorageError, the reason
   * of an end, or an Error while it is sealed.
   */
  write(position: number, lent: LentBytes): Promise<void>
  /**
   * A way to read what is present, to be closed by the caller; it outlives the end of the partial and the removal
   * of the file. `from` is where it will read first: a window keeps what its views have not passed. `hasReadDisk`: whether
   * its reader has bytes that an earlier view gave from the disk, which are to be checked again as well where that has
   * failed. Throws Error after the end.
   */
  view(from?: number, hasReadDisk?: boolean): PartialView
  /**
   * Whether the bytes that are here are the whole of `expected`. Throws RegistryError SIZE_INVALID where there are
   * holes, DIGEST_INVALID where they are other bytes (or not all yet), and StorageError, also where they may be others since
   * the disk has lost them. Ends nothing: more may be written, and it may be called again.
   */
  verify(expected: Digest): Promise<void>
  /**
   * Verifies as `verify` does, and ends it by publishing the bytes under `expected`: fdatasync, rename, fsync of
   * the folder. Where it throws RegistryError, or StorageError BUSY, the partial is as it was and may be sealed
   * again. After another StorageError nothing can be written or sealed any more, and to suspend it is to discard it: a
   * disk that failed to sync is not trusted with the bytes.
   */
  seal(expected: Digest): Promise<SealedFile>
  /**
   * Ends it, the bytes stay for a later `open`, but where a sync has failed. Writes from now on reject with `reason`. No
   * error after an end.
   */
  suspend(reason: Error): Promise<void>
  /** Ends it and removes the bytes. Writes from now on reject with `reason`. No error after an end. */
  discard(reason: Error): Promise<void>
  /**
   * Ends it as `discard` does, where the disk takes no more of it: its name is free, and what is here can be read on. Never
   * fails at the disk, which may keep what cannot be removed. Throws Error after an end.
   */
  detach(reason: Error): Promise<PartialRemains>
}

/**
 * What a disk had taken of a partial before it failed: a file without a name, that is gone when this and all its views are
 * closed. A sync that failed may have lost bytes, so what is read is not to be relied on before all of it was hashed again.
 */
export interface PartialRemains extends AsyncDisposable {
  readonly present: ReadonlyRanges
  /** Bytes of the contiguous prefix that were hashed, most of them on their way to the disk. */
  readonly hashedUntil: number
  /** Whether some of them were read back for that when the disk may have lost them: then a wrong digest is nobody's fault. */
  readonly isHashDoubtful: boolean
  /** A copy of their hash, to be disposed of by the caller. Not once this is closed. */
  hash(): RunningHash
  /** A way to read what is present, to be closed by the caller. Throws Error once this and all views are closed. */
  view(): PartialView
}

/** Positional reads of a partial. */
export interface PartialView extends AsyncDisposable {
  /**
   * Reads bytes that are present at `position` into `buffer` and returns how many; 0 where that byte is missing.
   * Never waits for more. Throws StorageError, and RangeError where a window has dropped that byte.
   */
  read(buffer: Uint8Array, position: number): Promise<number>
  /** A hold of the caller's own of bytes from `position` on, where they are in memory; the same as to read them. */
  lend?(position: number): LentBytes | undefined
  /** Nothing more is read by it. */
  passed?(): void
  /**
   * There while what was read may be other bytes than were written, since the disk has failed: resolves when the disk was
   * asked again and all was right. Throws StorageError where bytes were lost.
   */
  readonly recheck?: (() => Promise<void>) | undefined
}
