import { mkdir, open, readdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Digest, digestAlgorithm, digestHex } from '../../oci/digest.ts'
import type { BlobReader } from '../blob-reader.ts'
import type { BlobStore, PartialOptions } from '../blob-store.ts'
import type { Partial } from '../partial.ts'
import { absentIfMissing } from './file-errors.ts'
import { FilePartial } from './file-partial.ts'
import { PartialJournal } from './partial-journal.ts'
import { StoredCount, type StoredTotal } from './stored-count.ts'

const layoutVersion = '1'
/** A partial that nobody asked for in this time goes at the next start. */
const partialKeptMs = 30 * 24 * 60 * 60 * 1000

/** Bytes that are left to the catalog and its log; a sixteenth of a tiny disk. */
const reserveBytes = 4 * 1024 * 1024

/**
 * Blobs as files `blobs/<algorithm>/<first two hex digits>/<hex>`, partials as `partial/<id>`, and the layout's
 * version in `VERSION`. A blob appears by rename, after its bytes were synced, and the folder after that.
 */
export class FileBlobStore implements BlobStore {
  readonly #directory: string
  readonly #openPartials = new Set<string>()
  readonly #count: StoredCount

  private constructor(directory: string) {
    this.#directory = directory
    this.#count = new StoredCount(join(directory, 'blobs'))
  }

  /**
   * Opens the store in `directory`, which is made where it is missing. Throws where the folder was written by a
   * later version, or cannot be written to. One process a folder: see `lockDirectory`.
   */
  static async open(directory: string): Promise<FileBlobStore> {
    await mkdir(join(directory, 'partial'), { recursive: true })
    const versionPath = join(directory, 'VERSION')
    const version = (await absentIfMissing(readFile(versionPath, 'utf8')))?.trim()
    // A power cut just after the first start may leave an empty file.
    if (!version) await writeFile(versionPath, `${layoutVersion}\n`)
    else if (version !== layoutVersion) {
      throw new Error(
        `${directory} has layout version ${version}, this program knows ${layoutVersion}: start the newer program, or use another folder`,
      )
    }
    const store = new FileBlobStore(directory)
    await store.#removeForgottenPartials()
    store.#count.start()
    return store
  }

  get stored(): StoredTotal {
    return this.#count.total
  }

  async size(digest: Digest): Promise<number | undefined> {
    return (await absentIfMissing(stat(this.#pathOf(digest))))?.size
  }

  async open(digest: Digest): Promise<BlobReader | undefined> {
    const file = await absentIfMissing(open(this.#pathOf(digest), 'r'))
    if (!file) return undefined
    try {
      const { size } = await file.stat()
      return {
        size,
        isVerified: true,
        verified: async () => {},
        async read(buffer, position, options) {
          options?.signal?.throwIfAborted()
          if (position >= size) return 0
          const wanted = Math.min(buffer.length, size - position)
          const { bytesRead } = await file.read(buffer, 0, wanted, position)
          if (bytesRead === 0 && wanted > 0) throw new Error(`${digest} became shorter while it was read`)
          return bytesRead
        },
        [Symbol.asyncDispose]: () => file.close(),
      }
    } catch (error) {
      await file.close()
      throw error
    }
  }

  async delete(digest: Digest): Promise<void> {
    await this.#count.change(folderOf(digest), async () => {
      const size = await this.size(digest)
      await rm(this.#pathOf(digest), { force: true })
      return size === undefined ? { bytes: 0, blobs: 0 } : { bytes: -size, blobs: -1 }
    })
  }

  async openPartial(options: PartialOptions): Promise<Partial> {
    const { id } = options
    if (!/^[a-z0-9-]+$/.test(id)) throw new TypeError(`"${id}" is no name for a partial`)
    if (this.#openPartials.has(id)) throw new Error(`partial ${id} is open already`)
    this.#openPartials.add(id)
    try {
      return await FilePartial.open(join(this.#directory, 'partial', id), options, {
        publish: (path, digest) => this.#publish(path, digest),
        onEnd: () => this.#openPartials.delete(id),
      })
    } catch (error) {
      this.#openPartials.delete(id)
      throw error
    }
  }

  async partialSize(id: string): Promise<number | undefined> {
    return PartialJournal.size(`${join(this.#directory, 'partial', id)}.journal`)
  }

  async roomFor(id: string): Promise<number> {
    const { bavail, blocks, bsize } = await statfs(this.#directory)
    const partial = await absentIfMissing(stat(join(this.#directory, 'partial', id)))
    const reserve = Math.min(reserveBytes, (blocks * bsize) / 16)
    return bavail * bsize - reserve + (partial?.blocks ?? 0) * 512
  }

  async probe(): Promise<void> {
    const path = join(this.#directory, 'partial', '.probe')
    try {
      await writeFile(path, 'larder')
    } finally {
      await rm(path, { force: true })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#count[Symbol.asyncDispose]()
    if (this.#openPartials.size > 0) throw new Error('a partial is still open: its owner must end it first')
  }

  #pathOf(digest: Digest): string {
    return join(this.#directory, 'blobs', folderOf(digest), digestHex(digest))
  }

  async #publish(path: string, digest: Digest): Promise<void> {
    await this.#count.change(folderOf(digest), async () => {
      const { size } = await stat(path)
      const before = await this.size(digest)
      await this.#rename(path, digest, before === undefined)
      return { bytes: size - (before ?? 0), blobs: before === undefined ? 1 : 0 }
    })
  }

  async #rename(path: string, digest: Digest, isNew: boolean): Promise<void> {
    const target = this.#pathOf(digest)
    const folder = dirname(target)
    const firstMade = await mkdir(folder, { recursive: true })
    await rename(path, target)
    try {
      await syncFolder(folder)
      // A folder made just now exists durably only once its own parent is synced, up to the first that was there.
      for (let made = folder; firstMade && made.length >= firstMade.length; made = dirname(made)) {
        await syncFolder(dirname(made))
      }
    } catch (error) {
      // Nobody may find what a power cut could take; where it was stored before, it is as durable as it was.
      if (isNew) await rm(target, { force: true })
      throw error
    }
  }

  async #removeForgottenPartials(): Promise<void> {
    const folder = join(this.#directory, 'partial')
    for (const name of await readdir(folder)) {
      const path = join(folder, name)
      const { mtimeMs } = await stat(path)
      if (Date.now() - mtimeMs > partialKeptMs) await rm(path, { force: true })
    }
  }
}

/** `<algorithm>/<first two hex digits>`. */
function folderOf(digest: Digest): string {
  return join(digestAlgorithm(digest), digestHex(digest).slice(0, 2))
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
