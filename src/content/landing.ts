import type { Logger } from 'pino'
import type { Changes } from '../flow/changes.ts'
import { type Digest, digestAlgorithm, isDigestOfNothing } from '../oci/digest.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import { StorageError } from '../storage/error.ts'
import type { WindowPartial } from '../storage/memory/window-partial.ts'
import type { Partial } from '../storage/partial.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { DiskState } from './disk-state.ts'
import type { Growing } from './growing.ts'
import { whenNotBusy } from './patience.ts'
import type { Reservation } from './reservation.ts'
import type { Windows } from './windows.ts'

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
  /** Announced whenever something is different for those who wait. */
  readonly changes: Changes
  readonly logger: Logger
}

/** Where the bytes of an attempt go: a partial on the disk, or a window in memory where the disk cannot take it. */
export class Landing {
  readonly #options: LandingOptions
  readonly #growing: Growing
  readonly #signal: AbortSignal
  #partial: Partial | undefined
  #window: WindowPartial | undefined

  /** Who follows `growing` is told what it reads from. */
  constructor(options: LandingOptions, growing: Growing, signal: AbortSignal) {
    this.#options = options
    this.#growing = growing
    this.#signal = signal
  }

  /** Undefined before the first byte. */
  get partial(): Partial | undefined {
    return this.#partial
  }

  /** Where it is one in memory. */
  get window(): WindowPartial | undefined {
    return this.#window
  }

  /** Opens what an earlier attempt left, if anything; a blob that nobody has sent a byte of leaves no file. */
  async takeUp(size: number | undefined): Promise<Partial | undefined> {
    const { store, partialId } = this.#options
    const found = await whenNotBusy(() => store.partials.find(partialId), this.#signal).catch(() => undefined)
    if (!found) return undefined
    const partial = await this.#openPartial(size)
    // Where the disk does not even open it, how large the blob is may have to be told before it is handed through.
    return partial && this.#attach(partial)
  }

  /** Opens it for a blob of `size` bytes that comes from `upstream`. Throws UpstreamError, StorageError BUSY. */
  async begin(size: number | undefined, upstream: string): Promise<Partial> {
    return this.#attach((await this.#openPartial(size)) ?? this.#openWindow(size, upstream))
  }

  #attach(partial: Partial): Partial {
    this.#partial = partial
    this.#growing.attach(partial, { window: this.#window })
    this.#options.changes.announce()
    return partial
  }

  async #openPartial(size: number | undefined): Promise<Partial | undefined> {
    const { digest, store, partialId: id, room, isStorable, disk, logger } = this.#options
    if (!isStorable() || !(await room.reserve(size, this.#signal))) return undefined
    const open = () => store.partials.open({ id, algorithm: digestAlgorithm(digest) })
    try {
      return await whenNotBusy(open, this.#signal)
    } catch (error) {
      if (!(error instanceof StorageError) || error.code === 'BUSY') throw error
      disk.failed(error)
      room.giveBack()
      logger.debug({ digest, err: error }, 'a partial could not be opened')
      return undefined
    }
  }

  #openWindow(size: number | undefined, upstream: string): Partial {
    const { digest, logger, partialId: id, windows } = this.#options
    if (size === undefined && !isDigestOfNothing(digest)) {
      throw new UpstreamError('INVALID_RESPONSE', upstream, 'it does not tell the size of a blob')
    }
    logger.error({ digest }, 'the disk cannot take this blob: handing it through without keeping it')
    this.#window = windows.open({ id, algorithm: digestAlgorithm(digest) })
    return this.#window
  }
}
