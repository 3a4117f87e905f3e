import type { LentMemory } from './lent-bytes.ts'

/** What memory is filled with that nobody holds. */
const overwritten = 0xdd

/** Finds wrong use of lent memory: overwrites what is released, and knows where what is not was taken. Costs much. */
export class LendingChecks implements Disposable {
  readonly #holds = new Set<{ readonly where: string }>()

  /** The same memory of these bytes, watched. */
  watched(bytes: Uint8Array, memory: LentMemory): LentMemory {
    return {
      free: () => {
        bytes.fill(overwritten)
        memory.free()
      },
      abandon: () => memory.abandon(),
      onHold: () => this.#begin(),
    }
  }

  /** Throws AggregateError where something is still held. */
  [Symbol.dispose](): void {
    if (this.#holds.size === 0) return
    const errors = [...this.#holds].map(
      ({ where }) => new Error(`bytes were never released, taken\n${where}`),
    )
    throw new AggregateError(errors, `${errors.length} holds of bytes were never released`)
  }

  #begin(): () => void {
    const { stack = '' } = new Error()
    // Without what every hold goes through.
    const hold = { where: stack.split('\n').slice(4, 12).join('\n') }
    this.#holds.add(hold)
    return () => this.#holds.delete(hold)
  }
}
