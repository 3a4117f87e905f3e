import { readdirSync, type Stats, statSync } from 'node:fs'
import { join } from 'node:path'

/** Milliseconds between two looks. */
const intervalMs = 10

/**
 * Looks at a data folder from outside, again and again, and keeps the most that it saw of what is mirrored: blobs but for
 * those that were pushed, and what fills have left or bring. Dispose to stop.
 */
export class DiskWatch implements Disposable {
  readonly #directory: string
  readonly #pushed: ReadonlySet<string>
  readonly #timer: NodeJS.Timeout
  /** Bytes, but for the rest of the last block of each partial. */
  most = 0
  looks = 0

  /** `pushed`: digests, which may grow. */
  constructor(directory: string, pushed: ReadonlySet<string>) {
    this.#directory = directory
    this.#pushed = pushed
    this.#timer = setInterval(() => this.look(), intervalMs)
  }

  look(): number {
    const sizes = new Map<string, number>()
    // What is sealed between the two has the same name in both.
    for (const prefix of namesIn(join(this.#directory, 'blobs/sha256')))
      this.#add(sizes, 'blobs/sha256', prefix)
    for (const name of namesIn(join(this.#directory, 'partial'))) {
      if (name.endsWith('.journal') || name.startsWith('.')) continue
      const hex = name.replace(/^sha256-/, '')
      sizes.set(
        hex,
        Math.max(sizes.get(hex) ?? 0, statsOf(join(this.#directory, 'partial', name))?.size ?? 0),
      )
    }
    for (const digest of this.#pushed) sizes.delete(digest.replace('sha256:', ''))
    const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0)
    this.most = Math.max(this.most, bytes)
    this.looks += 1
    return bytes
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #add(sizes: Map<string, number>, below: string, prefix: string): void {
    const folder = join(this.#directory, below, prefix)
    for (const hex of namesIn(folder)) sizes.set(hex, statsOf(join(folder, hex))?.size ?? 0)
  }
}

function statsOf(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    return undefined
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
