import { randomFillSync } from 'node:crypto'
import { closeSync, ftruncateSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { StorageError } from './error.ts'

/** Bytes; a sixteenth of a tiny disk. As much as the journal and what a checkpoint of it adds to the catalog. */
const wantedBytes = 8 * 1024 * 1024
const pieceBytes = 1024 * 1024
/** Bytes without which a catalog cannot be opened: its journal's first page, and what the connections share. */
const neededBytes = 256 * 1024

/** The reserve of a data folder as another thread can have it: see `Reserve.sharing`. */
export interface SharedReserve {
  readonly path: string
  readonly state: SharedArrayBuffer
}

/**
 * A file of bytes that are worth nothing. On a disk that is full a delete needs room too, to be recorded: it is given up
 * for that. Until it is there again the disk counts as full for everything else, or the next push would have the room.
 * One thread changes it; others may ask whether it was given up.
 */
export class Reserve {
  readonly #path: string
  readonly #state: SharedArrayBuffer
  readonly #isGivenUp: Int32Array

  private constructor({ path, state }: SharedReserve) {
    this.#path = path
    this.#state = state
    this.#isGivenUp = new Int32Array(state)
  }

  /** That of a data folder. Throws what the file system says where nobody can look at it. */
  static in(directory: string): Reserve {
    const reserve = new Reserve({ path: join(directory, 'reserve'), state: new SharedArrayBuffer(4) })
    // Without a byte it tells later processes that it was given up; it is missing where there was never room for it.
    reserve.#tell(reserve.#size === 0)
    return reserve
  }

  /** The same one, in another thread. */
  static sharing(shared: SharedReserve): Reserve {
    return new Reserve(shared)
  }

  get shared(): SharedReserve {
    return { path: this.#path, state: this.#state }
  }

  get isGivenUp(): boolean {
    return Atomics.load(this.#isGivenUp, 0) === 1
  }

  /** Throws StorageError FULL where it was given up. */
  assertThere(): void {
    if (this.isGivenUp) throw new StorageError('FULL', 'the disk is full, and what is left is for deletes')
  }

  /** True where there is more room now. Never throws. */
  giveUp(): boolean {
    try {
      if (!this.#size) return false
      this.#tell(true)
      this.#write((file) => ftruncateSync(file))
      return true
    } catch {
      // A disk that does not even take that has another trouble, which is told by what it refuses.
      return false
    }
  }

  /** The same where the disk has next to nothing else. */
  giveUpIfNeeded(): boolean {
    return freeBytes(dirname(this.#path)) < neededBytes && this.giveUp()
  }

  /**
   * Makes it where there is room, whole at first, and again as much of it as there is room for; else all is as it was.
   * Never throws.
   */
  make(): void {
    try {
      if (this.#isMade()) this.#tell(false)
    } catch {
      // Nobody can look at the disk: whoever needs it is told by the disk.
    }
  }

  #isMade(): boolean {
    const [size, wanted] = [this.#size, this.#wanted()]
    const before = size ?? 0
    if (before >= wanted) return true
    const part = wanted / 16
    // Where it never was it is not worth the last bytes of a cache that has filled its disk.
    const room = freeBytes(dirname(this.#path)) - (size === undefined ? wanted : part)
    const target = Math.min(wanted, before + Math.max(0, Math.floor(room)))
    const least = size === undefined ? wanted : this.isGivenUp ? wanted / 4 : before + part
    if (target < least) return !this.isGivenUp
    try {
      this.#write((file) => fill(file, before, target))
    } catch {
      if (size === undefined) rmSync(this.#path, { force: true })
      else this.#write((file) => ftruncateSync(file, before))
      return !this.isGivenUp
    }
    return true
  }

  get #size(): number | undefined {
    return statSync(this.#path, { throwIfNoEntry: false })?.size
  }

  #wanted(): number {
    const { blocks, bsize } = statfsSync(dirname(this.#path))
    return Math.min(wantedBytes, Math.floor((blocks * bsize) / 16))
  }

  #write(work: (file: number) => void): void {
    const file = openSync(this.#path, 'a')
    try {
      work(file)
    } finally {
      closeSync(file)
    }
  }

  #tell(isGivenUp: boolean): void {
    Atomics.store(this.#isGivenUp, 0, isGivenUp ? 1 : 0)
  }
}

/** Random ones: no file system compresses them or leaves holes. Not synced: after a power cut it is made again. */
function fill(file: number, start: number, end: number): void {
  const bytes = randomFillSync(Buffer.allocUnsafeSlow(Math.min(pieceBytes, end - start)))
  for (let at = start; at < end; ) at += writeSync(file, bytes, 0, Math.min(bytes.length, end - at))
}

function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory)
  return bavail * bsize
}
