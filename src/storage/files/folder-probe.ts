import { randomBytes } from 'node:crypto'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { asStorageError, StorageError } from '../error.ts'
import { inFolder } from './in-folder.ts'

/** Bytes: a block of most file systems. */
const probeSize = 4096

/**
 * Finds out whether the disk behind some folders takes bytes and gives them back: a small file is written, synced, read
 * and removed in each. One at a time, whoever asks: on a disk that hangs they would take every thread that there is.
 */
export class FolderProbe {
  readonly #folders: readonly string[]
  #running: Promise<void> | undefined

  constructor(folders: readonly string[]) {
    this.#folders = folders
  }

  /** Rejects with StorageError. A folder that somebody has removed is made again. */
  run(): Promise<void> {
    this.#running ??= this.#probe().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #probe(): Promise<void> {
    for (const folder of this.#folders) {
      const probing = inFolder(folder, () => probeIn(join(folder, '.probe')))
      await asStorageError('the data folder cannot be written to', probing)
    }
  }
}

async function probeIn(path: string): Promise<void> {
  const bytes = randomBytes(probeSize)
  try {
    await using file = await open(path, 'w+')
    const { bytesWritten } = await file.write(bytes, 0, probeSize, 0)
    await file.sync()
    const { buffer } = await file.read(Buffer.alloc(probeSize), 0, probeSize, 0)
    if (bytesWritten < probeSize || !buffer.equals(bytes)) {
      throw new StorageError('BROKEN', 'the disk gave back other bytes than it was given')
    }
  } finally {
    await rm(path, { force: true })
  }
}
