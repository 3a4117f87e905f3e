import { StorageError } from '../storage/error.ts'

/** Bytes after which room is asked for again. */
const stepBytes = 16 * 1024 * 1024

/** Asks for room again and again while a blob comes of which nobody tells where it ends. */
export class EndlessRoom {
  readonly #hasRoom: (size: number) => Promise<boolean>
  #unasked = 0
  #isLong = false

  /** `hasRoom`: whether the disk has room for a blob of so many bytes, those that are here among them. */
  constructor(hasRoom: (size: number) => Promise<boolean>) {
    this.#hasRoom = hasRoom
  }

  /** Whether more than a step of it has come. */
  get isLong(): boolean {
    return this.#isLong
  }

  /** So many bytes come beside those that are `present`. Throws StorageError FULL where there is no room for more. */
  async take(bytes: number, present: number): Promise<void> {
    this.#unasked += bytes
    if (this.#unasked < stepBytes) return
    this.#unasked = 0
    this.#isLong = true
    if (await this.#hasRoom(present + stepBytes)) return
    throw new StorageError('FULL', 'there is no room for a blob whose size nobody tells')
  }
}
