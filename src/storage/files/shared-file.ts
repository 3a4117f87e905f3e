import type { FileHandle } from 'node:fs/promises'

/**
 * An open file that several hold: each `retain` is matched by one `release`, and the last one closes it. A
 * rename or a removal meanwhile does not matter to those who hold it.
 */
export class SharedFile {
  readonly handle: FileHandle
  #holders = 1

  /** The creator is the first holder. */
  constructor(handle: FileHandle) {
    this.handle = handle
  }

  /** Throws Error once it is closed. */
  retain(): this {
    if (this.#holders === 0) throw new Error('the file is closed')
    this.#holders += 1
    return this
  }

  async release(): Promise<void> {
    this.#holders -= 1
    if (this.#holders === 0) await this.handle.close()
  }
}
