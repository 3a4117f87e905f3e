import { LendingChecks } from './lending-checks.ts'
import { LentBytes } from './lent-bytes.ts'

export interface PiecesOptions {
  /** Bytes in use up to which pieces are large and may be lent to slow readers, and of each size that are kept for later. */
  readonly capacity?: number
  /** Milliseconds without a transfer after which what is kept is let go. */
  readonly idleMs?: number
  /** Whether to overwrite what is released, and to know by whom what is not was taken. Costs much. */
  readonly isChecked?: boolean
}

type Memory = Buffer<SharedArrayBuffer>

/** Bytes. Large enough that a call into the kernel or the thread pool costs nothing beside the bytes. */
const sizes = { large: 1024 * 1024, small: 64 * 1024 } as const
const defaultCapacity = 8 * 1024 * 1024
const defaultIdleMs = 30_000

/**
 * Recycled memory for bytes on their way. A chunk that comes from a socket in memory of its own is external to the heap of
 * V8, which starts a full collection for every few megabytes of them (docs/decisions/0047). One for the whole process.
 */
export class Pieces implements Disposable {
  readonly #capacity: number
  readonly #idleMs: number
  readonly #checks: LendingChecks | undefined
  readonly #free = { large: [] as Memory[], small: [] as Memory[] }
  #inUse = 0
  #idle: NodeJS.Timeout | undefined

  constructor({ capacity, idleMs, isChecked }: PiecesOptions = {}) {
    this.#capacity = capacity ?? defaultCapacity
    this.#idleMs = idleMs ?? defaultIdleMs
    this.#checks = isChecked ? new LendingChecks() : undefined
  }

  /** Bytes of pieces of which something is held. */
  get inUse(): number {
    return this.#inUse
  }

  /** Bytes that are kept for the next transfer. */
  get kept(): number {
    return this.#free.large.length * sizes.large + this.#free.small.length * sizes.small
  }

  /** Whether so much is held that slow readers had better have copies. */
  get isScarce(): boolean {
    return this.#inUse > this.#capacity
  }

  /** A piece of which nothing is shared yet. Its bytes are whatever they were. */
  acquire(): LentBytes {
    clearTimeout(this.#idle)
    this.#idle = undefined
    const kind = this.isScarce ? 'small' : 'large'
    const size = sizes[kind]
    const piece = this.#free[kind].pop() ?? Buffer.from(new SharedArrayBuffer(size))
    this.#inUse += size
    const memory = { free: () => this.#take(piece), abandon: () => this.#ended(size) }
    return LentBytes.whole(piece, this.#checks?.watched(piece, memory) ?? memory)
  }

  /** Throws AggregateError where something is still held, and that is checked. */
  [Symbol.dispose](): void {
    clearTimeout(this.#idle)
    this.#forget()
    this.#checks?.[Symbol.dispose]()
  }

  /** What is dropped instead is collected late: V8 does not see how much such memory there is. */
  #take(piece: Memory): void {
    const free = piece.length === sizes.large ? this.#free.large : this.#free.small
    // There is one large piece more than the capacity has when it is found that there are too many.
    if (free.length * piece.length <= this.#capacity) free.push(piece)
    this.#ended(piece.length)
  }

  #ended(size: number): void {
    this.#inUse -= size
    if (this.#inUse > 0) return
    this.#idle ??= setTimeout(() => this.#forget(), this.#idleMs).unref()
  }

  #forget(): void {
    this.#free.large.length = 0
    this.#free.small.length = 0
  }
}
