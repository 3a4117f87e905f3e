import { deferred } from '../../flow/deferred.ts'
import { HeldBytes } from '../../flow/held-bytes.ts'
import type { LentBytes } from '../../flow/lent-bytes.ts'
import type { Digest, DigestAlgorithm } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/error.ts'
import type { Partial, PartialRemains, PartialView, SealedFile } from '../partial.ts'
import { Ranges, type ReadonlyRanges } from '../ranges.ts'
import { InlineHash, type RunningHash } from '../running-hash.ts'

export interface WindowPartialOptions {
  readonly id: string
  readonly algorithm: DigestAlgorithm
  /** Bytes that are held for views; a write waits while there are more. */
  readonly capacity: number
  /** What comes before its first byte, and is kept elsewhere: how many bytes, and their hash, which is its own from then on. */
  readonly before?: { readonly bytes: number; readonly hash: RunningHash } | undefined
}

/** A view that can be elsewhere at times. */
export interface WindowView extends PartialView {
  /** It is read at `position` next, or before it by somebody else: what lies behind that is kept for it. */
  moveTo(position: number): void
}

/**
 * A partial that keeps nothing: a bounded window in memory, for a blob that the disk cannot take. It is written in
 * order from the start, or from where something else ends. A byte is dropped when all views have passed it; a write waits while as much as `capacity`
 * is held, also where there is no view yet. Reading what was dropped throws RangeError: it is never "the end".
 */
export class WindowPartial implements Partial {
  readonly id: string
  readonly capacity: number
  readonly #present = new Ranges()
  readonly #hash: RunningHash
  readonly #views = new Set<{ position: number }>()
  readonly #held: HeldBytes
  #keptFrom = 0
  #hashedUntil = 0
  #writing: Promise<void> = Promise.resolve()
  /** Resolved and replaced when something was dropped, or it ended. */
  #room = deferred<void>()
  #failure: Error | undefined

  constructor({ id, algorithm, capacity, before }: WindowPartialOptions) {
    this.id = id
    this.capacity = capacity
    this.#held = new HeldBytes(capacity)
    this.#hash = before?.hash ?? new InlineHash(algorithm)
    this.#hashedUntil = before?.bytes ?? 0
    this.#keptFrom = this.#hashedUntil
    this.#present.add(0, this.#hashedUntil)
  }

  /** What has come, whether or not it is still held. */
  get present(): ReadonlyRanges {
    return this.#present
  }

  get hashedUntil(): number {
    return this.#hashedUntil
  }

  get keptFrom(): number {
    return this.#keptFrom
  }

  /** Whether nobody needs anything of it any more. */
  get isGone(): boolean {
    return this.#failure !== undefined && this.#views.size === 0
  }

  /** Resolves when half of it is free, or it has ended. */
  async hasRoom(): Promise<void> {
    await this.#writing
    while (this.#held.length > this.capacity / 2 && !this.#failure) await this.#room.promise
  }

  /** Throws RangeError where it would leave a hole. */
  write(position: number, borrowed: LentBytes): Promise<void> {
    const lent = borrowed.share()
    // One after the other: two that wait for room would both go on from the same place.
    const written = this.#writing.then(() => this.#append(position, lent)).finally(() => lent.release())
    this.#writing = written.catch(() => {})
    return written
  }

  /** The next bytes are kept elsewhere: they are hashed, and not held. Not while a write is under way. */
  async pass(bytes: Uint8Array): Promise<void> {
    const hashed = this.#hash.update(bytes)
    this.#advance(bytes.length)
    await hashed
  }

  view(from = 0): WindowView {
    if (this.#failure) throw new Error(`partial ${this.id} has ended`, { cause: this.#failure })
    const cursor = { position: from }
    this.#views.add(cursor)
    this.#drop()
    return {
      read: async (buffer, position) => this.#read(cursor, buffer, position),
      lend: (position) => this.#lend(cursor, position),
      moveTo: (position) => this.#move(cursor, position),
      passed: () => this.#move(cursor, Number.POSITIVE_INFINITY),
      [Symbol.asyncDispose]: async () => {
        this.#views.delete(cursor)
        // Who comes next may want what the last one has left; the others have passed it or not.
        if (this.#views.size > 0) this.#drop()
        else if (this.isGone) this.#held.clear()
      },
    }
  }

  async verify(expected: Digest): Promise<void> {
    await this.#writing
    const actual = await this.#hash.digest()
    if (actual !== expected) {
      throw new RegistryError('DIGEST_INVALID', `expected ${expected}, the bytes are ${actual}`)
    }
  }

  /** Throws Error: there is nothing that could be kept. Verify it, and discard it. */
  async seal(): Promise<SealedFile> {
    throw new Error(`partial ${this.id} is only handed through: it cannot be sealed`)
  }

  /** The same as `discard`. */
  async suspend(reason: Error): Promise<void> {
    await this.discard(reason)
  }

  /** Ends it; views still get what is held. */
  async discard(reason: Error): Promise<void> {
    this.#failure ??= reason
    this.#hash[Symbol.dispose]()
    if (this.isGone) this.#held.clear()
    this.#wake()
  }

  /** Throws Error: there is nothing that could be kept. */
  async detach(): Promise<PartialRemains> {
    throw new Error(`partial ${this.id} is only handed through: nothing of it remains`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.discard(new Error(`partial ${this.id} was closed`))
  }

  async #append(position: number, lent: LentBytes): Promise<void> {
    if (position > this.#hashedUntil) {
      throw new RangeError(`bytes at ${position} leave a hole: those at ${this.#hashedUntil} are next`)
    }
    using fresh = lent.share(Math.min(lent.length, this.#hashedUntil - position))
    while (this.#held.length > 0 && this.#held.length + fresh.length > this.capacity && !this.#failure) {
      await this.#room.promise
    }
    if (this.#failure) throw this.#failure
    if (fresh.length === 0) return
    const hashed = this.#hash.update(fresh.bytes)
    this.#held.add(this.#hashedUntil, fresh)
    this.#advance(fresh.length)
    this.#drop()
    await hashed
  }

  #advance(bytes: number): void {
    this.#present.add(this.#hashedUntil, this.#hashedUntil + bytes)
    this.#hashedUntil += bytes
  }

  #move(cursor: { position: number }, position: number): void {
    cursor.position = position
    this.#drop()
  }

  #read(cursor: { position: number }, buffer: Uint8Array, position: number): number {
    this.#reach(cursor, position)
    return this.#held.read(buffer, position)
  }

  #lend(cursor: { position: number }, position: number): LentBytes | undefined {
    this.#reach(cursor, position)
    return this.#held.lend(position)
  }

  #reach(cursor: { position: number }, position: number): void {
    if (position < this.#keptFrom) {
      throw new RangeError(`the bytes at ${position} were read before, and are gone`)
    }
    this.#move(cursor, position)
  }

  /** Whole chunks only: what is in front of the last view. */
  #drop(): void {
    if (this.#views.size === 0) return
    const passed = Math.min(...[...this.#views].map(({ position }) => position))
    let hasDropped = false
    for (
      let { oldestEnd } = this.#held;
      oldestEnd !== undefined && oldestEnd <= passed;
      { oldestEnd } = this.#held
    ) {
      this.#held.drop()
      this.#keptFrom = oldestEnd
      hasDropped = true
    }
    if (hasDropped) this.#wake()
  }

  #wake(): void {
    const waiting = this.#room
    this.#room = deferred()
    waiting.resolve()
  }
}
