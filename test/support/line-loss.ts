import { Random } from '../torture/random.ts'

/** Bytes that a packet carries: an Ethernet frame without the headers of IPv4, and of TCP with its timestamps. */
export const packetBytes = 1448

export interface SentPiece {
  readonly bytes: Buffer
  /** It is one packet, which has to be sent again. */
  readonly isLost: boolean
}

/** Decides which packets of a connection are lost: each with the same probability, the same ones for the same seed. */
export class PacketLoss {
  readonly #probability: number
  readonly #random: Random
  /** That come through before the next one is lost. */
  #packetsLeft: number

  /** `probability`: of each packet, from 0 to 1. */
  constructor(probability: number, seed: number) {
    this.#probability = probability
    this.#random = new Random(seed)
    this.#packetsLeft = this.#draw()
  }

  /** The bytes as the packets carry them, in their order; they begin a packet, and what is left over is one too. */
  split(bytes: Buffer): SentPiece[] {
    const pieces: SentPiece[] = []
    for (let rest = bytes; rest.length > 0; ) {
      const before = rest.subarray(0, this.#packetsLeft * packetBytes)
      if (before.length > 0) pieces.push({ bytes: before, isLost: false })
      this.#packetsLeft -= Math.ceil(before.length / packetBytes)
      rest = rest.subarray(before.length)
      if (rest.length === 0) break
      pieces.push({ bytes: rest.subarray(0, packetBytes), isLost: true })
      rest = rest.subarray(packetBytes)
      this.#packetsLeft = this.#draw()
    }
    return pieces
  }

  /** How many packets come through in a row: distributed geometrically. */
  #draw(): number {
    if (this.#probability <= 0) return Number.MAX_SAFE_INTEGER
    if (this.#probability >= 1) return 0
    return Math.floor(Math.log(1 - this.#random.next()) / Math.log(1 - this.#probability))
  }
}
