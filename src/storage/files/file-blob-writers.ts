import { lstat, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { BlobWriter, BlobWriterOptions, BlobWriters, FoundWriter } from '../blob-writer.ts'
import { asStorageError } from '../error.ts'
import { assertPartialId, isPartialId } from '../partial-id.ts'
import type { Reserve } from '../reserve.ts'
import { FileBlobWriter } from './file-blob-writer.ts'
import { absentIfMissing } from './file-errors.ts'
import type { PartialHooks } from './file-partial.ts'
import { inFolder } from './in-folder.ts'

/** The blobs that clients send, as files `<id>` in one folder. */
export class FileBlobWriters implements BlobWriters {
  readonly #folder: string
  readonly #publish: PartialHooks['publish']
  readonly #reserve: Reserve | undefined
  readonly #open = new Set<string>()

  /** `reserve`: while it is given up nothing is written. */
  constructor(folder: string, publish: PartialHooks['publish'], reserve: Reserve | undefined) {
    this.#folder = folder
    this.#reserve = reserve
    this.#publish = publish
  }

  get openCount(): number {
    return this.#open.size
  }

  async open(options: BlobWriterOptions): Promise<BlobWriter> {
    const { id } = options
    const path = this.#claim(id)
    const hooks = {
      publish: this.#publish,
      beforeWrite: () => this.#reserve?.assertThere(),
      onEnd: () => void this.#open.delete(id),
    }
    try {
      const opening = inFolder(this.#folder, () => FileBlobWriter.open(path, options, hooks))
      return await asStorageError(`upload ${id} could not be opened`, opening)
    } catch (error) {
      this.#open.delete(id)
      throw error
    }
  }

  /**
   * Has what releases before this folder kept among the partials; their journals are of no use then. For the start, when
   * none is open. Throws the file system's error.
   */
  async takeOver(partials: string): Promise<void> {
    const names = (await readdir(partials)).filter((name) => name.startsWith('upload-') && isPartialId(name))
    for (const name of names) {
      await inFolder(this.#folder, () => rename(join(partials, name), join(this.#folder, name)))
    }
  }

  list(): Promise<FoundWriter[]> {
    return asStorageError('the uploads could not be listed', this.#list())
  }

  async remove(id: string): Promise<void> {
    const path = this.#claim(id)
    try {
      await asStorageError(`upload ${id} could not be removed`, rm(path, { force: true }))
    } finally {
      this.#open.delete(id)
    }
  }

  async #list(): Promise<FoundWriter[]> {
    const names = (await absentIfMissing(readdir(this.#folder))) ?? []
    const found: FoundWriter[] = []
    for (const id of names.filter(isPartialId).toSorted()) {
      const stats = await absentIfMissing(lstat(join(this.#folder, id)))
      if (stats?.isFile()) found.push({ id, size: stats.size, touchedAt: Math.trunc(stats.mtimeMs) })
    }
    return found
  }

  #claim(id: string): string {
    assertPartialId(id)
    if (this.#open.has(id)) throw new Error(`upload ${id} is open already`)
    this.#open.add(id)
    return join(this.#folder, id)
  }
}
