/** Bytes: smaller ones are put together. */
const smallBytes = 4096
const largestPiece = 64 * 1024

/** Puts small chunks together that follow one another: by the ten thousand they would have to be looked through. */
export class SmallChunks {
  readonly #pieceBytes: number
  #piece: Uint8Array | undefined

  /** For an owner who holds `capacity` bytes: he lets go of whole chunks, so they must be a small part of that. */
  constructor(capacity: number) {
    this.#pieceBytes = Math.min(largestPiece, Math.floor(capacity / 16))
  }

  /** `last`, the chunk before, and `bytes` in one chunk that takes the place of `last`; undefined: they stay apart. */
  joined(last: Uint8Array | undefined, bytes: Uint8Array): Uint8Array | undefined {
    const isInPiece = last !== undefined && last.buffer === this.#piece?.buffer
    const areSmall = bytes.length < smallBytes && (isInPiece || (last?.length ?? smallBytes) < smallBytes)
    if (!last || !areSmall || last.length + bytes.length > this.#pieceBytes) return undefined
    if (!isInPiece) {
      this.#piece = new Uint8Array(this.#pieceBytes)
      this.#piece.set(last)
    }
    this.#piece?.set(bytes, last.length)
    return this.#piece?.subarray(0, last.length + bytes.length)
  }
}
