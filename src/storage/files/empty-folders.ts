import { rmdir } from 'node:fs/promises'
import { bestEffort } from '../../flow/best-effort.ts'

/** Free files below which an empty folder is one too many; there are some hundred folders. */
const fewFiles = 4096

/**
 * Removes folders with their last file where a disk has few files left, and never one that something is about to move into:
 * what is synced after that has to be the folder that the file is in.
 */
export class EmptyFolders {
  readonly #used = new Map<string, number>()
  readonly #going = new Map<string, Promise<void>>()
  #areFewFiles = false

  /** As the disk tells; 0 of 0 where it has no bound. */
  heed(files: { readonly free: number; readonly total: number }): void {
    this.#areFewFiles = files.total > 0 && files.free < fewFiles
  }

  /** Does `work`, which moves a file into `folder`, and makes that where it is missing. */
  async during<Value>(folder: string, work: () => Promise<Value>): Promise<Value> {
    // Guards against this order: (1) the folder is opened, to be synced. (2) It is removed here. (3) Somebody makes it
    // again, and the file is moved there: another folder is synced.
    while (this.#going.has(folder)) await this.#going.get(folder)
    this.#used.set(folder, (this.#used.get(folder) ?? 0) + 1)
    try {
      return await work()
    } finally {
      const left = (this.#used.get(folder) ?? 1) - 1
      if (left > 0) this.#used.set(folder, left)
      else this.#used.delete(folder)
    }
  }

  /** A file in `folder` has gone. Never throws: a folder that is not empty stays. */
  async left(folder: string): Promise<void> {
    if (!this.#areFewFiles || this.#used.has(folder) || this.#going.has(folder)) return
    const going = bestEffort(rmdir(folder), () => {})
    this.#going.set(folder, going)
    await going
    this.#going.delete(folder)
  }
}
