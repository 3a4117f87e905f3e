import { lstat, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, digestAlgorithm, digestHex, isDigest } from '../../oci/digest.ts'
import type { StoredTotal } from '../blob-store.ts'
import { asStorageError } from '../error.ts'
import type { SealedFile } from '../partial.ts'
import type { Quarantine, QuarantinedBlob } from '../quarantine.ts'
import { absentIfMissing } from './file-errors.ts'
import { inFolder, moveOver } from './in-folder.ts'

/** Moves the file of a stored blob, and returns its size in bytes; undefined where it is not stored. */
type Take = (digest: Digest, move: (path: string) => Promise<void>) => Promise<number | undefined>

/** What hashes a file, and what stores one again. */
export interface QuarantineHooks {
  hash(path: string, digest: Digest, signal?: AbortSignal): Promise<Digest | undefined>
  store(path: string, digest: Digest, size: number): Promise<SealedFile | undefined>
}

/**
 * Damaged blobs as files `<algorithm>-<hex>` of a folder, which is there once something was damaged. They are moved
 * there in one step; that is not synced: what a power cut moves back is found damaged again.
 */
export class FileQuarantine implements Quarantine {
  readonly #folder: string
  readonly #take: Take
  readonly #blobs: Map<Digest, QuarantinedBlob>
  readonly #hooks: QuarantineHooks | undefined

  private constructor(
    folder: string,
    take: Take,
    hooks: QuarantineHooks | undefined,
    blobs: readonly QuarantinedBlob[],
  ) {
    this.#hooks = hooks
    this.#folder = folder
    this.#take = take
    this.#blobs = new Map(blobs.map((blob) => [blob.digest, blob]))
  }

  /** What nobody put there is left alone. Throws the file system's own error where the folder cannot be read. */
  static async open(folder: string, take: Take, hooks?: QuarantineHooks): Promise<FileQuarantine> {
    const found: QuarantinedBlob[] = []
    for (const name of (await absentIfMissing(readdir(folder))) ?? []) {
      const digest = name.replace('-', ':')
      if (!isDigest(digest)) continue
      const stats = await absentIfMissing(lstat(join(folder, name)))
      // The rename has touched the file itself, and nothing else did.
      if (stats?.isFile()) found.push({ digest, size: stats.size, at: stats.ctimeMs })
    }
    return new FileQuarantine(
      folder,
      take,
      hooks,
      found.toSorted((one, other) => one.at - other.at),
    )
  }

  get total(): StoredTotal {
    let bytes = 0
    for (const { size } of this.#blobs.values()) bytes += size
    return { bytes, blobs: this.#blobs.size }
  }

  list(): readonly QuarantinedBlob[] {
    return [...this.#blobs.values()]
  }

  async put(digest: Digest): Promise<number> {
    const moving = this.#take(digest, async (path) => {
      await inFolder(this.#folder, () => moveOver(path, this.#pathOf(digest)))
    })
    const size = await asStorageError(`${digest} could not be put into quarantine`, moving)
    if (size === undefined) return 0
    // Behind those that are there.
    this.#blobs.delete(digest)
    this.#blobs.set(digest, { digest, size, at: Date.now() })
    return size
  }

  async isWhole(digest: Digest, signal?: AbortSignal): Promise<boolean> {
    if (!this.#blobs.has(digest)) return false
    const actual = await this.#hooks?.hash(this.#pathOf(digest), digest, signal).catch(() => undefined)
    signal?.throwIfAborted()
    return actual === digest
  }

  async restore(digest: Digest): Promise<SealedFile | undefined> {
    const blob = this.#blobs.get(digest)
    return blob && this.#hooks?.store(this.#pathOf(digest), digest, blob.size)
  }

  async remove(digest: Digest): Promise<number> {
    const blob = this.#blobs.get(digest)
    if (!blob) return 0
    const removing = absentIfMissing(rm(this.#pathOf(digest), { force: true, recursive: true }))
    await asStorageError(`${digest} could not be removed from quarantine`, removing)
    this.#blobs.delete(digest)
    return blob.size
  }

  #pathOf(digest: Digest): string {
    return join(this.#folder, `${digestAlgorithm(digest)}-${digestHex(digest)}`)
  }
}
