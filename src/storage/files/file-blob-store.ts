import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readFile, rm, statfs, unlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Digest, digestAlgorithm } from '../../oci/digest.ts'
import type {
  BlobStore,
  CheckedBlob,
  CheckOptions,
  DiskRoom,
  Partials,
  StoredBlob,
  StoredTotal,
} from '../blob-store.ts'
import type { BlobWriters } from '../blob-writer.ts'
import { asStorageError, NewerDataError, StorageError } from '../error.ts'
import type { SealedFile } from '../partial.ts'
import type { Quarantine } from '../quarantine.ts'
import type { Reserve } from '../reserve.ts'
import { blobPath, checkBlob, folderOf, listBlobs, statBlob } from './blob-files.ts'
import { bootId } from './boot-id.ts'
import { EmptyFolders } from './empty-folders.ts'
import { FileBlobWriters } from './file-blob-writers.ts'
import { absentIfMissing, isAbsence } from './file-errors.ts'
import type { PartialHooks } from './file-partial.ts'
import { FilePartials } from './file-partials.ts'
import { FileQuarantine } from './file-quarantine.ts'
import { FolderProbe } from './folder-probe.ts'
import { HashingThread } from './hashing-thread.ts'
import { makeFolder, moveOver } from './in-folder.ts'
import { PrefixThread, type PrefixThreadOptions } from './prefix-thread.ts'
import { StoredCount } from './stored-count.ts'
import { openStoredFile } from './stored-file.ts'

export interface FileBlobStoreOptions {
  /** When another thread hashes what is on its way. */
  readonly prefixes?: PrefixThreadOptions
  /** Under which boot of the machine this is; by default what the system says. */
  readonly boot?: string | undefined
}

const layoutVersion = '1'

/** Bytes that are left to the catalog and its log; a sixteenth of a tiny disk. */
const reserveBytes = 4 * 1024 * 1024

/**
 * Blobs as files `blobs/<algorithm>/<first two hex digits>/<hex>`, partials as `partial/<id>`, what clients send as
 * `upload/<id>`, what was found damaged in `quarantine/`, and the layout's version in `VERSION`. A blob appears by rename, after its bytes were synced, and the folder after that. What is
 * not a plain file under a digest's name is no blob. Folders that somebody removes at run time are made again.
 */
export class FileBlobStore implements BlobStore {
  readonly #directory: string
  readonly #reserve: Reserve | undefined
  readonly #partials: FilePartials
  readonly #writers: FileBlobWriters
  readonly #count: StoredCount
  readonly #emptyFolders = new EmptyFolders()
  readonly #probe: FolderProbe
  readonly #hashing = new HashingThread()
  /** Of what is served: not behind a large file that nobody waits for. */
  readonly #servedHashing = [new HashingThread(), new HashingThread()] as const
  /** Of what is on its way. */
  readonly #prefixes: PrefixThread
  readonly #quarantine: FileQuarantine
  #counted: Promise<void> = Promise.resolve()

  private constructor(
    directory: string,
    reserve: Reserve | undefined,
    quarantine: FileQuarantine,
    { prefixes, boot }: FileBlobStoreOptions,
  ) {
    this.#prefixes = new PrefixThread(prefixes)
    this.#directory = directory
    this.#reserve = reserve
    this.#quarantine = quarantine
    const publish: PartialHooks['publish'] = (...file) => this.#publish(...file)
    this.#partials = new FilePartials(join(directory, 'partial'), { publish, thread: this.#prefixes, boot })
    this.#writers = new FileBlobWriters(join(directory, 'upload'), publish, reserve)
    this.#count = new StoredCount(join(directory, 'blobs'))
    this.#probe = new FolderProbe([join(directory, 'partial'), join(directory, 'blobs')])
  }

  /**
   * Opens the store in `directory`, which is made where it is missing. Throws where the folder was written by a
   * later version, and the file system's own error where it cannot be written to. One process a folder: see
   * `lockDirectory`. `reserve`: while it is given up nothing new is taken.
   */
  static async open(
    directory: string,
    reserve?: Reserve,
    options: FileBlobStoreOptions = {},
  ): Promise<FileBlobStore> {
    await mkdir(join(directory, 'partial'), { recursive: true })
    const versionPath = join(directory, 'VERSION')
    const version = (await absentIfMissing(readFile(versionPath, 'utf8')))?.replaceAll('\0', '').trim()
    // A power cut just after the first start may leave an empty file, or one of zeros.
    if (!version) await writeFile(versionPath, `${layoutVersion}\n`)
    else if (version !== layoutVersion) {
      const what = `${directory} has layout version ${version}, this program knows ${layoutVersion}`
      throw new NewerDataError(what)
    }
    const quarantine = await FileQuarantine.open(
      join(directory, 'quarantine'),
      (...file) => store.#take(...file),
      {
        hash: async (path, digest, signal) => {
          const request = { path, algorithm: digestAlgorithm(digest), isGentle: true }
          return (await store.#hashing.hash(request, signal)).actual
        },
        store: async (path, digest, size) => {
          await asStorageError(`${digest} could not be stored again`, store.#publish(path, digest, size))
          return store.stat(digest)
        },
      },
    )
    const store: FileBlobStore = new FileBlobStore(directory, reserve, quarantine, {
      boot: await bootId(),
      ...options,
    })
    await store.#writers.takeOver(join(directory, 'partial'))
    await store.#partials.tidy()
    store.#counted = store.#count.start()
    return store
  }

  get stored(): StoredTotal {
    return this.#count.total
  }

  /** What is stored, once all of it was counted, or the store is closed. */
  async counted(): Promise<StoredTotal> {
    await this.#counted
    return this.stored
  }

  get partials(): Partials {
    return this.#partials
  }

  get writers(): BlobWriters {
    return this.#writers
  }

  get quarantine(): Quarantine {
    return this.#quarantine
  }

  stat(digest: Digest): Promise<SealedFile | undefined> {
    return statBlob(this.#directory, digest)
  }

  open(digest: Digest): Promise<StoredBlob | undefined> {
    return asStorageError(`${digest} could not be opened`, openStoredFile(this.#pathOf(digest), digest))
  }

  check(digest: Digest, options?: CheckOptions): Promise<CheckedBlob | undefined> {
    const [one, other] = this.#servedHashing
    const thread = !options?.isServed ? this.#hashing : one.isIdle ? one : other
    return checkBlob(this.#directory, digest, thread, options)
  }

  delete(digest: Digest): Promise<number> {
    return asStorageError(`${digest} could not be removed`, this.#delete(digest))
  }

  list(options: { after?: Digest | undefined; limit: number }): Promise<Digest[]> {
    return listBlobs(this.#directory, options)
  }

  room(): Promise<DiskRoom> {
    return asStorageError('the room on the disk could not be told', this.#room())
  }

  probe(): Promise<void> {
    return this.#probe.run()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#count[Symbol.asyncDispose]()
    for (const thread of [this.#hashing, ...this.#servedHashing, this.#prefixes])
      await thread[Symbol.asyncDispose]()
    if (this.#partials.openCount + this.#writers.openCount > 0) {
      throw new Error('a partial or an upload is still open: its owner must end it first')
    }
  }

  #pathOf(digest: Digest): string {
    return blobPath(this.#directory, digest)
  }

  async #delete(digest: Digest): Promise<number> {
    const size = await this.#take(digest, (path) => absentIfMissing(unlink(path)))
    return (size ?? 0) + (await this.#quarantine.remove(digest))
  }

  /** Does with the file of a stored blob what takes it away. Its size in bytes; undefined where it is not stored. */
  async #take(digest: Digest, away: (path: string) => Promise<void>): Promise<number | undefined> {
    let size: number | undefined
    await this.#count.change(folderOf(digest), async () => {
      const path = this.#pathOf(digest)
      size = (await this.stat(digest))?.size
      // Whatever else lies there is in the way of the blob.
      await (size === undefined ? absentIfMissing(rm(path, { force: true, recursive: true })) : away(path))
      await this.#emptyFolders.left(dirname(path))
      return size === undefined ? { bytes: 0, blobs: 0 } : { bytes: -size, blobs: -1 }
    })
    return size
  }

  async #room(): Promise<DiskRoom> {
    const { bavail, blocks, bsize, files, ffree } = await statfs(this.#directory)
    this.#emptyFolders.heed({ free: ffree, total: files })
    const reserve = Math.min(reserveBytes, (blocks * bsize) / 16)
    const bytes = this.#reserve?.isGivenUp ? 0 : bavail * bsize - reserve
    return { bytes, files: { free: ffree, total: files } }
  }

  async #publish(path: string, digest: Digest, size: number): Promise<void> {
    await this.#count.change(folderOf(digest), async () => {
      const before = (await this.stat(digest))?.size
      const folder = dirname(this.#pathOf(digest))
      await this.#emptyFolders.during(folder, () => this.#rename(path, digest, before === undefined))
      return { bytes: size - (before ?? 0), blobs: before === undefined ? 1 : 0 }
    })
    // It is whole again; what was wrong is of no more use to anybody.
    await this.#quarantine.remove(digest).catch(() => {})
  }

  async #rename(path: string, digest: Digest, isNew: boolean): Promise<void> {
    const target = this.#pathOf(digest)
    const folder = dirname(target)
    // They are opened first: where descriptors are short, nothing has happened yet.
    await using opened = await openFolders(folder, folder).catch(async (error: unknown) => {
      if (!isAbsence(error)) throw error
      const firstMade = await makeFolder(folder, this.#directory)
      // A folder made just now exists durably only once its own parent is synced, up to the first that was there.
      return openFolders(folder, firstMade ? dirname(firstMade) : folder)
    })
    await moveOver(path, target)
    try {
      for (const handle of opened.folders) await handle.sync()
    } catch (error) {
      // Nobody may find what a power cut could take; where it was stored before, it is as durable as it was.
      if (isNew) await rm(target, { force: true })
      throw new StorageError('BROKEN', `the folder of ${digest} could not be synced`, { cause: error })
    }
  }
}

/** Opens `folder` and those above it up to `last`. */
async function openFolders(folder: string, last: string) {
  const closing = new AsyncDisposableStack()
  const folders: FileHandle[] = []
  try {
    for (let path = folder; path.length >= last.length; path = dirname(path)) {
      folders.push(closing.use(await open(path, constants.O_RDONLY | constants.O_DIRECTORY)))
    }
    return { folders, [Symbol.asyncDispose]: () => closing.disposeAsync() }
  } catch (error) {
    await closing.disposeAsync()
    throw error
  }
}
