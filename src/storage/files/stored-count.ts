import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { StoredTotal } from '../blob-store.ts'

/**
 * Keeps count of what is stored in folders `<algorithm>/<first digits>`. They are walked once, in the background and
 * one file at a time; from then on changes are added. A folder that changes while it is walked is walked again, and
 * a change in one that was not walked yet is left to the walk. Dispose to end the walk.
 */
export class StoredCount implements AsyncDisposable {
  readonly #directory: string
  readonly #walked = new Set<string>()
  readonly #changing = new Map<string, Set<Promise<StoredTotal>>>()
  readonly #unseen = new Set<string>()
  readonly #stopped = new AbortController()
  /** Those that changed while one is walked. */
  readonly #changed = new Set<string>()
  #walking: Promise<void> = Promise.resolve()
  #isFinished = false
  #bytes = 0
  #blobs = 0

  /** `directory` holds the folders of the algorithms. */
  constructor(directory: string) {
    this.#directory = directory
  }

  /** As far as it was counted. */
  get total(): StoredTotal {
    return { bytes: this.#bytes, blobs: this.#blobs }
  }

  /** Resolves when all is counted; never rejects: what cannot be looked at is not counted. */
  start(): Promise<void> {
    this.#walking = this.#walk().catch(() => {})
    return this.#walking
  }

  /** Does `work`, which stores or removes something in a folder and tells by how much that changed the total. */
  async change(folder: string, work: () => Promise<StoredTotal>): Promise<void> {
    const running = this.#changing.get(folder) ?? new Set()
    this.#changing.set(folder, running)
    const done = work()
    running.add(done)
    if (!this.#isFinished) this.#changed.add(folder)
    if (!this.#isFinished && !this.#walked.has(folder)) this.#unseen.add(folder)
    try {
      const { bytes, blobs } = await done
      if (!this.#isFinished && !this.#walked.has(folder)) return
      this.#bytes += bytes
      this.#blobs += blobs
    } finally {
      running.delete(done)
      if (running.size === 0) this.#changing.delete(folder)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort()
    await this.#walking
  }

  async #walk(): Promise<void> {
    for (const algorithm of await this.#names('')) {
      for (const prefix of await this.#names(algorithm)) {
        if (this.#stopped.signal.aborted) return
        await this.#count(join(algorithm, prefix))
      }
    }
    // Folders that were made since.
    for (const folder of this.#unseen) if (!this.#walked.has(folder)) await this.#count(folder)
    this.#isFinished = true
    this.#walked.clear()
    this.#unseen.clear()
    this.#changed.clear()
  }

  async #count(folder: string): Promise<void> {
    for (;;) {
      // The next change may begin before this goes on.
      while (this.#changing.has(folder)) await Promise.allSettled(this.#changing.get(folder) ?? [])
      this.#changed.delete(folder)
      let bytes = 0
      let blobs = 0
      for (const name of await this.#names(folder)) {
        if (this.#stopped.signal.aborted) return
        const stats = await lstat(join(this.#directory, folder, name)).catch(() => undefined)
        if (!stats?.isFile()) continue
        bytes += stats.size
        blobs += 1
      }
      if (this.#changed.has(folder) || this.#changing.has(folder)) continue
      this.#bytes += bytes
      this.#blobs += blobs
      this.#walked.add(folder)
      return
    }
  }

  async #names(folder: string): Promise<string[]> {
    return readdir(join(this.#directory, folder)).catch(() => [])
  }
}
