import { delay } from '../flow/abortable.ts'
import { StorageError } from '../storage/error.ts'

/** Milliseconds for which descriptors may be short before it is told; they are back as soon as clients are served. */
const busyMs = 20_000
const pauseMs = 50

/**
 * Does `work`, again where descriptors or memory are short for a moment: that the house is full of guests is no reason
 * to take the disk for full. Throws what it fails with otherwise, or in the end, or the signal's reason.
 */
export async function whenNotBusy<Value>(work: () => Promise<Value>, signal?: AbortSignal): Promise<Value> {
  const startedAt = performance.now()
  for (;;) {
    try {
      return await work()
    } catch (error) {
      const isBusy = error instanceof StorageError && error.code === 'BUSY'
      if (!isBusy || performance.now() - startedAt > busyMs) throw error
      await delay(pauseMs, signal)
    }
  }
}

/** Is over after so many milliseconds, which `onOver` is told. */
export class Patience implements Disposable {
  readonly #timer: NodeJS.Timeout
  #isOver = false

  constructor(ms: number, onOver: () => void) {
    this.#timer = setTimeout(() => {
      this.#isOver = true
      onOver()
    }, ms).unref()
  }

  get isOver(): boolean {
    return this.#isOver
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
  }
}
