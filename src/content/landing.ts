import type { Logger } from 'pino'
import { abortable } from '../flow/abortable.ts'
import type { Changes } from '../flow/changes.ts'
import type { LentBytes } from '../flow/lent-bytes.ts'
import { type Digest, digestAlgorithm } from '../oci/digest.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import { StorageError } from '../storage/error.ts'
import { ContinuedPartial } from '../storage/memory/continued-partial.ts'
import type { Partial } from '../storage/partial.ts'
import type { DiskState } from './disk-state.ts'
import type { Growing, Window } from './growing.ts'
import { whenNotBusy } from './patience.ts'
import type { Reservation } from './reservation.ts'
import { Unsized } from './size.ts'
import type { Windows } from './windows.ts'

/** Bytes: a block of the disk. */
const smallestFile = 4096

export interface LandingOptions {
  readonly digest: Digest
  readonly store: BlobStore
  /** The name of the partial that it goes on with, or begins. */
  readonly partialId: string
  /** Of the disk. */
  readonly room: Reservation
  /** Whether the disk is worth trying. */
  readonly isStorable: () => boolean
  readonly disk: DiskState
  readonly windows: Windows
  /** What comes from now on is not kept. */
  readonly onUnkept: () => void
  /** Announced whenever something is different for those who wait. */
  readonly changes: Changes
  readonly logger: Logger
}

/**
 * Where the bytes of an attempt go: a partial on the disk, or a window in memory where the disk cannot take it, from the
 * start or from where it ended.
 */
export class Landing {
  readonly #options: LandingOptions
  readonly #growing: Growing
  readonly #size: () => number | undefined
  readonly #signal: AbortSignal
  #partial: Partial | undefined
  #window: Window | undefined
  /** Goes on in memory: several connections may hear at once that the disk takes no more. */
  #goingOn: Promise<void> | undefined
  #freeing: Promise<boolean> | undefined
  /** Where the window is full while nobody reads it. */
  #heldUntil = 0

  /** Who follows `growing` is told what it reads from. `size`: bytes of the blob, as far as that is known by then. */
  constructor(
    options: LandingOptions,
    { growing, size, signal }: { growing: Growing; size: () => number | undefined; signal: AbortSignal },
  ) {
    this.#options = options
    this.#growing = growing
    this.#size = size
    this.#signal = signal
  }

  /** Undefined before the first byte. */
  get partial(): Partial | undefined {
    return this.#partial
  }

  /** Where it is one in memory. */
  get window(): Window | undefined {
    return this.#window
  }

  /** Opens what an earlier attempt left, if anything; a blob that nobody has sent a byte of leaves no file. */
  async takeUp(): Promise<Partial | undefined> {
    const { store, partialId } = this.#options
    const found = await whenNotBusy(() => store.partials.find(partialId), this.#signal).catch(() => undefined)
    if (!found) return undefined
    const partial = await this.#openPartial()
    // Where the disk does not even open it, how large the blob is may have to be told before it is handed through.
    return partial && this.#attach(partial)
  }

  /** Opens it. Throws StorageError BUSY. */
  async begin(): Promise<Partial> {
    const partial = this.#attach((await this.#openPartial()) ?? this.#openWindow())
    // Whoever has left before there was a window has found nothing that had no use without him.
    if (this.#window) this.#options.onUnkept()
    return partial
  }

  /**
   * Writes to what was begun, in memory where the disk takes no more; `left` aborts where that is not waited for. False where
   * the disk cannot read what it had taken: these bytes are too early, others are missing before them. Throws Unsized, the
   * signal's reason, and that of `left`. `upstream`: that sent them.
   */
  async write(
    position: number,
    lent: LentBytes,
    { upstream, left }: { readonly upstream: string; readonly left: AbortSignal },
  ): Promise<boolean> {
    if (!this.#window && this.#partial) {
      const failure = await this.#writeToDisk(this.#partial, position, lent)
      if (!failure) return true
      await this.#goOn(this.#partial, failure)
    }
    if ((this.#window?.hashedUntil ?? 0) < position) return false
    if (this.#isUntold && position + lent.length > this.#heldUntil) throw new Unsized(upstream)
    await abortable(this.#growing.write(position, lent), left)
    return true
  }

  /** See `Growing.pause`. */
  async pause(): Promise<void> {
    if (!this.#isUntold) await this.#growing.pause()
  }

  /**
   * The disk has failed at what it had taken: goes on in memory from there, and those who follow notice nothing. Throws
   * every other error, and the signal's reason.
   */
  async survive(error: unknown): Promise<void> {
    if (!(error instanceof StorageError) || this.#window || !this.#partial) throw error
    this.#options.disk.failed(error)
    await this.#goOn(this.#partial, error)
  }

  /** Nobody reads what comes, and makes room for more, who has not been told how much it is. */
  get #isUntold(): boolean {
    return this.#window !== undefined && this.#size() === undefined
  }

  #goOn(partial: Partial, reason: Error): Promise<void> {
    this.#goingOn ??= this.#continue(partial, reason)
    return this.#goingOn
  }

  async #continue(partial: Partial, reason: Error): Promise<void> {
    const { digest, partialId: id, room, windows, onUnkept } = this.#options
    const algorithm = digestAlgorithm(digest)
    const remains = await partial.detach(reason)
    room.giveBack()
    const before = { bytes: remains.hashedUntil, hash: remains.hash() }
    const window = windows.open({ id, algorithm, before })
    const continued = new ContinuedPartial({ remains, window, algorithm })
    this.#window = continued
    await continued.settled()
    this.#heldUntil = continued.hashedUntil + window.capacity
    this.#attach(continued)
    onUnkept()
    // Whoever ended it meanwhile has found nothing in memory that could be ended.
    this.#signal.throwIfAborted()
  }

  /** Why the disk does not take it; undefined: it has. */
  async #writeToDisk(partial: Partial, position: number, lent: LentBytes): Promise<StorageError | undefined> {
    const { room, digest, disk } = this.#options
    const end = partial.present.total + lent.length
    if (!room.has(end) && !(await room.take(end, this.#signal))) {
      return new StorageError('FULL', `there is no room for more of ${digest}`)
    }
    try {
      await this.#onDisk(lent.length, () => this.#growing.write(position, lent))
      return undefined
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      disk.failed(error)
      return error
    }
  }

  /** Does `work`, once more where it said that the disk is full and something could be evicted. */
  async #onDisk<Value>(bytes: number, work: () => Promise<Value>): Promise<Value> {
    try {
      return await whenNotBusy(work, this.#signal)
    } catch (error) {
      const isFull = error instanceof StorageError && error.code === 'FULL'
      if (!isFull || !(await this.#freed(bytes))) throw error
      return await whenNotBusy(work, this.#signal)
    }
  }

  /** Once for all connections that hear at the same time that it is full. */
  #freed(bytes: number): Promise<boolean> {
    this.#freeing ??= this.#options.room.afterFull(bytes, this.#signal).finally(() => {
      this.#freeing = undefined
    })
    return this.#freeing
  }

  #attach(partial: Partial): Partial {
    this.#partial = partial
    this.#growing.attach(partial, { window: this.#window })
    this.#options.changes.announce()
    return partial
  }

  async #openPartial(): Promise<Partial | undefined> {
    const { digest, store, partialId: id, room, isStorable, disk, logger } = this.#options
    if (!isStorable() || !(await room.reserve(this.#size(), this.#signal))) return undefined
    const open = () => store.partials.open({ id, algorithm: digestAlgorithm(digest) })
    try {
      return await this.#onDisk(smallestFile, open)
    } catch (error) {
      if (!(error instanceof StorageError) || error.code === 'BUSY') throw error
      disk.failed(error)
      room.giveBack()
      logger.debug({ digest, err: error }, 'a partial could not be opened')
      return undefined
    }
  }

  #openWindow(): Partial {
    const { digest, partialId: id, windows } = this.#options
    const window = windows.open({ id, algorithm: digestAlgorithm(digest) })
    this.#window = window
    this.#heldUntil = window.capacity
    return window
  }
}
