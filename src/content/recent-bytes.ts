import { SmallChunks } from '../flow/small-chunks.ts'

/**
 * The latest written bytes of a growing file, kept in memory for readers that follow its front: a copy costs
 * them a tenth of a read through the thread pool. Holds references to what was written, at most `capacity` bytes.
 */
export class RecentBytes {
  readonly #capacity: number
  readonly #chunks: { start: number; bytes: Uint8Array }[] = []
  readonly #small: SmallChunks
  #held = 0

  constructor(capacity: number) {
    this.#capacity = capacity
    this.#small = new SmallChunks(capacity)
  }

  add(start: number, bytes: Uint8Array): void {
    if (bytes.length > this.#capacity) return
    const last = this.#chunks.at(-1)
    const isNext = last !== undefined && last.start + last.bytes.length === start
    const joined = isNext ? this.#small.joined(last.bytes, bytes) : undefined
    if (last && joined) last.bytes = joined
    else this.#chunks.push({ start, bytes })
    this.#held += bytes.length
    while (this.#held > this.#capacity) this.#held -= this.#chunks.shift()?.bytes.length ?? 0
  }

  /** Copies what is held from `position` on into `buffer`; returns how many bytes, 0 where none is held. */
  read(buffer: Uint8Array, position: number): number {
    let copied = 0
    for (const { start, bytes } of this.#chunks) {
      const from = position + copied - start
      if (from < 0 || from >= bytes.length) continue
      const piece = bytes.subarray(from, from + buffer.length - copied)
      buffer.set(piece, copied)
      copied += piece.length
      if (copied === buffer.length) break
    }
    return copied
  }

  clear(): void {
    this.#chunks.length = 0
    this.#held = 0
  }
}
