import { bestEffort } from '../flow/best-effort.ts'
import type { FoundPartial, Partials } from '../storage/blob-store.ts'

/** The partials that lie there while no fill goes on with them: earlier fills left them, of this process or another. */
export class RestingPartials {
  readonly #partials: Pick<Partials, 'find' | 'list' | 'remove'>
  readonly #resting = new Map<string, FoundPartial>()
  readonly #removing = new Map<string, Promise<void>>()
  #listing: Promise<void> | undefined

  constructor(partials: Pick<Partials, 'find' | 'list' | 'remove'>) {
    this.#partials = partials
  }

  /** Those untouched for longest first. Throws StorageError. */
  async oldest(): Promise<FoundPartial[]> {
    await this.known()
    return [...this.#resting.values()].toSorted((one, other) => one.touchedAt - other.touchedAt)
  }

  /** Resolves when those of earlier processes are known: they are listed once. Throws StorageError. */
  async known(): Promise<void> {
    this.#listing ??= this.#list().catch((error: unknown) => {
      this.#listing = undefined
      throw error
    })
    await this.#listing
  }

  /** Bytes of one of them, as far as its journal tells. */
  bytesOf(id: string): number {
    return this.#resting.get(id)?.bytes ?? 0
  }

  /** Bytes of all but those of these names. */
  bytesBeside(ids: ReadonlySet<string>): number {
    let bytes = 0
    for (const partial of this.#resting.values()) if (!ids.has(partial.id)) bytes += partial.bytes
    return bytes
  }

  /** A fill has let go of it, or somebody has removed it. Throws StorageError. */
  async look(id: string): Promise<void> {
    const found = await this.#partials.find(id)
    if (found) this.#resting.set(id, found)
    else this.#resting.delete(id)
  }

  /** Resolves when it is not being removed. */
  async removed(id: string): Promise<void> {
    await this.#removing.get(id)
  }

  /** Removes one that no fill goes on with, and returns the bytes that are free. Throws StorageError. */
  async remove(id: string): Promise<number> {
    const bytes = this.bytesOf(id)
    const removing = this.#partials.remove(id)
    this.#removing.set(
      id,
      bestEffort(removing, () => {}),
    )
    try {
      await removing
      this.#resting.delete(id)
      return bytes
    } finally {
      this.#removing.delete(id)
    }
  }

  async #list(): Promise<void> {
    for (const found of await this.#partials.list()) this.#resting.set(found.id, found)
  }
}
