import { LentBytes } from './lent-bytes.ts'
import { SmallChunks } from './small-chunks.ts'

interface Chunk {
  readonly start: number
  lent: LentBytes
}

/**
 * Bytes of a growing whole that are held for those who read them, each at its position, in the order in which they came. What
 * lies behind each other in one memory is one chunk, and what is small is put together. Its owner says when what goes.
 */
export class HeldBytes {
  readonly #chunks: Chunk[] = []
  readonly #small: SmallChunks
  #length = 0

  /** For an owner who lets about `capacity` bytes be held. */
  constructor(capacity: number) {
    this.#small = new SmallChunks(capacity)
  }

  /** Bytes. */
  get length(): number {
    return this.#length
  }

  /** Where the oldest chunk ends; undefined where nothing is held. */
  get oldestEnd(): number | undefined {
    const oldest = this.#chunks[0]
    return oldest && oldest.start + oldest.lent.length
  }

  /** Takes a hold of its own. */
  add(start: number, lent: LentBytes): void {
    const last = this.#chunks.at(-1)
    const joined = last && last.start + last.lent.length === start ? this.#joined(last.lent, lent) : undefined
    if (last && joined) {
      last.lent.release()
      last.lent = joined
    } else this.#chunks.push({ start, lent: lent.share() })
    this.#length += lent.length
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

  /** What is held from `position` on, to the end of its chunk: to be released by the caller; undefined where nothing is. */
  lend(position: number): LentBytes | undefined {
    const chunk = this.#chunks.findLast(
      ({ start, lent }) => position >= start && position < start + lent.length,
    )
    return chunk?.lent.share(position - chunk.start)
  }

  /** Lets go of the oldest chunk. */
  drop(): void {
    const lent = this.#chunks.shift()?.lent
    this.#length -= lent?.length ?? 0
    lent?.release()
  }

  clear(): void {
    while (this.#chunks.length > 0) this.drop()
  }

  #joined(last: LentBytes, next: LentBytes): LentBytes | undefined {
    const joined = last.joined(next)
    if (joined) return joined
    const copied = this.#small.joined(last.bytes, next.bytes)
    return copied && LentBytes.of(copied)
  }
}
