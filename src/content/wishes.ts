import type { ByteInterval } from '../storage/ranges.ts'
import type { Want } from './fetch-plan.ts'

const all: readonly ByteInterval[] = [{ start: 0, end: Number.POSITIVE_INFINITY }]

/** What those are going to read who have nothing to read from yet. */
export class Wishes {
  readonly #ranges = new Set<readonly ByteInterval[]>()

  get wants(): readonly Want[] {
    return [...this.#ranges].flat().map((range) => ({ ...range, isWaiting: false }))
  }

  /** Notes the parts that somebody wants, all of it unless told. Returns what takes the wish back. */
  add(ranges: readonly ByteInterval[] = all): () => void {
    const own = [...ranges]
    this.#ranges.add(own)
    return () => this.#ranges.delete(own)
  }
}
