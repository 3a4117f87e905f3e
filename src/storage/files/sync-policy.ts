import type { FileHandle } from 'node:fs/promises'
import { asStorageError, StorageError } from '../error.ts'

const syncAfter = { bytes: 64 * 1024 * 1024, milliseconds: 5000 }

/**
 * Syncs the bytes of a file. Throws StorageError, and never BUSY: whoever tried again would be told that all is well, and
 * the bytes would be gone all the same.
 */
export async function syncBytes(file: FileHandle, what: string): Promise<void> {
  try {
    await asStorageError(`${what} could not be synced`, file.datasync())
  } catch (error) {
    const isPassing = error instanceof StorageError && error.code === 'BUSY'
    throw isPassing ? new StorageError('BROKEN', error.message, { cause: error.cause }) : error
  }
}

/**
 * Syncs a growing file now and then, in the background: what a power cut may take of it is bounded, and the sync
 * at the end is short.
 */
export class SyncPolicy {
  readonly #file: FileHandle
  readonly #what: string
  readonly #onFailure: (error: Error) => void
  readonly #onBegin: () => () => Promise<void>
  #unsyncedBytes = 0
  #syncedAt = performance.now()
  #syncing: Promise<void> | undefined

  /**
   * A failed fsync means that bytes are lost; a second one would report success all the same, so it is told. `what` is
   * synced. `onBegin` is called when a sync begins, and what it returns when that has succeeded; what that fails with is
   * nobody's business.
   */
  constructor(
    file: FileHandle,
    what: string,
    onFailure: (error: Error) => void,
    onBegin: () => () => Promise<void> = () => async () => {},
  ) {
    this.#file = file
    this.#what = what
    this.#onFailure = onFailure
    this.#onBegin = onBegin
  }

  /** Takes note of bytes that were written. */
  wrote(bytes: number): void {
    this.#unsyncedBytes += bytes
    const now = performance.now()
    const isDue = this.#unsyncedBytes >= syncAfter.bytes || now - this.#syncedAt >= syncAfter.milliseconds
    if (this.#syncing || !isDue) return
    this.#unsyncedBytes = 0
    this.#syncedAt = now
    const onSuccess = this.#onBegin()
    this.#syncing = syncBytes(this.#file, this.#what)
      .then(() => onSuccess().catch(() => {}), this.#onFailure)
      .finally(() => {
        this.#syncing = undefined
      })
  }

  /** Resolves when no sync is under way; never rejects. */
  async settled(): Promise<void> {
    await this.#syncing
  }
}
