import { WindowPartial, type WindowPartialOptions } from '../storage/memory/window-partial.ts'

/** Bytes that all windows together may hold. */
const budget = 32 * 1024 * 1024
/** Bytes that wait for the slowest reader of a blob that the disk cannot take, before its download is held back. */
const largest = 4 * 1024 * 1024
/** Bytes without which there is no window; more than one read from a socket brings. */
const smallest = 64 * 1024

/** The windows of all blobs that the disk cannot take; the more there are, the smaller is the next one. */
export class Windows {
  readonly #open = new Set<WindowPartial>()
  #count = 0

  /** Windows so far. */
  get count(): number {
    return this.#count
  }

  /** Opens a window, to be ended by its owner as every partial. */
  open(options: Omit<WindowPartialOptions, 'capacity'>): WindowPartial {
    let left = budget
    for (const window of this.#open) {
      if (window.isGone) this.#open.delete(window)
      else left -= window.capacity
    }
    const capacity = Math.max(smallest, Math.min(largest, Math.floor(left / 2)))
    const window = new WindowPartial({ ...options, capacity })
    this.#open.add(window)
    this.#count += 1
    return window
  }
}
