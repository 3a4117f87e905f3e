import type { FileHandle } from 'node:fs/promises'
import { StorageError } from '../error.ts'

const syncAfter = { bytes: 64 * 1024 * 1024, milliseconds: 5000 }

/**
 * Syncs a growing file now and then, in the background: what a power cut may take of it is bounded, and the sync
 * at the end is short.
 */
export class SyncPolicy {
  readonly #file: FileHandle
  readonly #onFailure: (error: Error) => void
  #unsyncedBytes = 0
  #syncedAt = performance.now()
  #syncing: Promise<void> | undefined

  /** A failed fsync means that bytes are lost; a second one would report success all the same, so it is told. */
  constructor(file: FileHandle, onFailure: (error: Error) => void) {
    this.#file = file
    this.#onFailure = onFailure
  }

  /** Takes note of bytes that were written. */
  wrote(bytes: number): void {
    this.#unsyncedBytes += bytes
    const now = performance.now()
    const isDue = this.#unsyncedBytes >= syncAfter.bytes || now - this.#syncedAt >= syncAfter.milliseconds
    if (this.#syncing || !isDue) return
    this.#unsyncedBytes = 0
    this.#syncedAt = now
    this.#syncing = this.#file
      .datasync()
      .catch((error: unknown) =>
        this.#onFailure(StorageError.from(error, 'syncing the partial failed') as Error),
      )
      .finally(() => {
        this.#syncing = undefined
      })
  }

  /** Resolves when no sync is under way; never rejects. */
  async settled(): Promise<void> {
    await this.#syncing
  }
}
