import { LentBytes } from '../flow/lent-bytes.ts'
import { SmallChunks } from '../flow/small-chunks.ts'

/**
 * The latest written bytes of a growing file, kept in memory for readers that follow its front: a copy costs
 * them a tenth of a read through the thread pool. Holds what was written, at most `capacity` bytes.
 */
export class RecentBytes {
  readonly #capacity: number
  readonly #chunks: { start: number; lent: LentBytes }[] = []
  readonly #small: SmallChunks
  #held = 0

  constructor(capacity: number) {
    this.#capacity = capacity
    this.#small = new SmallChunks(capacity)
  }

  /** Takes a hold of its own. */
  add(start: number, lent: LentBytes): void {
    if (lent.length > this.#capacity) return
    const last = this.#chunks.at(-1)
    const isNext = last !== undefined && last.start + last.lent.length === start
    const joined = isNext ? this.#joined(last.lent, lent) : undefined
    if (last && joined) {
      last.lent.release()
      last.lent = joined
    } else this.#chunks.push({ start, lent: lent.share() })
    this.#held += lent.length
    while (this.#held > this.#capacity) this.#drop()
  }

  /** Copies what is held from `position` on into `buffer`; returns how many bytes, 0 where none is held. */
  read(buffer: Uint8Array, position: number): number {
    let copied = 0
    for (const { start, lent } of this.#chunks) {
      const from = position + copied - start
      if (from < 0 || from >= lent.length) continue
      const piece = lent.bytes.subarray(from, from + buffer.length - copied)
      buffer.set(piece, copied)
      copied += piece.length
      if (copied === buffer.length) break
    }
    return copied
  }

  /** A hold of the caller's own of what is held from `position` on, or of the first part of that; undefined: nothing is. */
  lend(position: number): LentBytes | undefined {
    const chunk = this.#chunks.findLast(
      ({ start, lent }) => start <= position && position < start + lent.length,
    )
    return chunk?.lent.share(position - chunk.start)
  }

  clear(): void {
    while (this.#chunks.length > 0) this.#drop()
  }

  #joined(last: LentBytes, next: LentBytes): LentBytes | undefined {
    const joined = last.joined(next)
    if (joined) return joined
    const copied = this.#small.joined(last.bytes, next.bytes)
    return copied && LentBytes.of(copied)
  }

  #drop(): void {
    const lent = this.#chunks.shift()?.lent
    this.#held -= lent?.length ?? 0
    lent?.release()
  }
}
