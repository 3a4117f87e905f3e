import type { ByteInterval } from '../storage/ranges.ts'
import type { Want } from './fetch-plan.ts'

const all: readonly ByteInterval[] = [{ start: 0, end: Number.POSITIVE_INFINITY }]

/** Parts of a wish that are noted: the first ones come first. */
const maximumParts = 16

/** What is to come of a blob for those who have nothing to read from yet, and before the first of them. */
export class Wishes {
  readonly #ranges = new Set<readonly ByteInterval[]>()
  readonly #firstPart: ByteInterval | undefined
  #hasBegun = false

  /** `firstPart`: what comes before somebody wishes anything; undefined: all. */
  constructor(firstPart: ByteInterval | undefined) {
    this.#firstPart = firstPart
  }

  /** Whether somebody has ever wished anything. */
  get hasBegun(): boolean {
    return this.#hasBegun
  }

  /** Whether no more than a first part is to come so far. */
  get isOfPart(): boolean {
    return !this.#hasBegun && this.#firstPart !== undefined
  }

  get wants(): readonly Want[] {
    const ranges = this.isOfPart && this.#firstPart ? [this.#firstPart] : [...this.#ranges].flat()
    return ranges.map((range) => ({ ...range, isWaiting: false }))
  }

  /** Notes the parts that somebody wants, all of it unless told. Returns what takes the wish back. */
  add(ranges: readonly ByteInterval[] = all): () => void {
    const own = ranges.slice(0, maximumParts)
    this.#hasBegun = true
    this.#ranges.add(own)
    return () => this.#ranges.delete(own)
  }
}
