import { type Digest, digestAlgorithm, digestOf } from '../../oci/digest.ts'
import type {
  BlobStore,
  CheckedBlob,
  CheckOptions,
  DiskRoom,
  FileLook,
  FoundPartial,
  PartialOptions,
  Partials,
  StoredBlob,
  StoredTotal,
} from '../blob-store.ts'
import type { BlobWriter, BlobWriterOptions, BlobWriters } from '../blob-writer.ts'
import { StorageError } from '../error.ts'
import type { Partial, SealedFile } from '../partial.ts'
import { assertPartialId } from '../partial-id.ts'
import type { Crash } from './crash.ts'
import { MemoryBlobWriter } from './memory-blob-writer.ts'
import { copyOf, MemoryFile, type MemoryHooks, MemoryPartial, remaining } from './memory-partial.ts'
import { MemoryQuarantine } from './memory-quarantine.ts'
import type { StoredEntry } from './stored-entry.ts'

export interface MemoryBlobStoreOptions {
  /** Bytes that it holds in all. */
  readonly room?: number
  /** Milliseconds since the epoch. */
  readonly now?: () => number
  /**
   * Called before each step of a disk (`write`, `sync`, `rename`, `sync-folder`, `unlink`, `open`, `open-partial`, `suspend`,
   * `discard`): what it waits for comes between two steps, and where it throws that step fails.
   */
  readonly step?: (name: string) => Promise<void>
}

/** Blobs in memory, with the promises of a disk: what a crash may take and what it may not. For tests. */
export class MemoryBlobStore implements BlobStore {
  readonly #blobs = new Map<Digest, StoredEntry>()
  /** Removed, and no folder was synced for that: a power cut may bring them back. */
  readonly #unlinked = new Map<Digest, StoredEntry>()
  readonly #partials = new Map<string, MemoryFile>()
  readonly #openPartials = new Set<string>()
  readonly #uploads = new Map<string, MemoryFile>()
  readonly #openUploads = new Set<string>()
  readonly quarantine = new MemoryQuarantine(async (digest) => {
    await this.#step('quarantine')
    return this.#take(digest)
  })
  readonly #options: MemoryBlobStoreOptions
  readonly #now: () => number
  #inodes = 0
  #hasCrashed = false

  constructor(options: MemoryBlobStoreOptions = {}) {
    this.#options = options
    this.#now = options.now ?? Date.now
  }

  get stored(): StoredTotal {
    let bytes = 0
    for (const { file } of this.#blobs.values()) bytes += file.present.total
    return { bytes, blobs: this.#blobs.size }
  }

  get partials(): Partials {
    return {
      find: async (id) => {
        assertPartialId(id)
        return this.#found(id)
      },
      open: (options) => this.#openPartial(options),
      list: async () => [...this.#partials.keys()].toSorted().flatMap((id) => this.#found(id) ?? []),
      remove: async (id) => {
        assertPartialId(id)
        if (this.#openPartials.has(id)) throw new Error(`partial ${id} is open`)
        if (!this.#partials.has(id)) return
        await this.#step('unlink')
        this.#partials.delete(id)
      },
    }
  }

  get writers(): BlobWriters {
    return {
      open: (options) => this.#openWriter(options),
      list: async () =>
        [...this.#uploads].map(([id, { present, mtime }]) => ({ id, size: present.total, touchedAt: mtime })),
      remove: async (id) => {
        assertPartialId(id)
        if (this.#openUploads.has(id)) throw new Error(`upload ${id} is open already`)
        await this.#step('unlink')
        this.#uploads.delete(id)
      },
    }
  }

  async stat(digest: Digest): Promise<SealedFile | undefined> {
    return this.#blobs.get(digest)?.file.sealed()
  }

  async open(digest: Digest): Promise<StoredBlob | undefined> {
    await this.#step('open')
    const file = this.#blobs.get(digest)?.file
    if (!file) return undefined
    const look = (): FileLook => {
      const { size, mtime, inode } = file.sealed()
      const isThere = this.#blobs.get(digest)?.file === file
      return { size, mtime, inode, trace: `${inode} ${size} ${mtime} ${isThere}` }
    }
    const opened = look()
    return {
      file: file.sealed(),
      opened,
      look,
      size: opened.size,
      isVerified: true,
      verified: async () => {},
      async read(buffer, position, options) {
        options?.signal?.throwIfAborted()
        const piece = file.read(position, buffer.length)
        buffer.set(piece)
        return piece.length
      },
      [Symbol.asyncDispose]: async () => {},
    }
  }

  async check(digest: Digest, { signal }: CheckOptions = {}): Promise<CheckedBlob | undefined> {
    await this.#step('check')
    signal?.throwIfAborted()
    const file = this.#blobs.get(digest)?.file
    if (!file) return undefined
    return {
      file: file.sealed(),
      actual: digestOf(file.read(0, file.present.total), digestAlgorithm(digest)),
    }
  }

  async delete(digest: Digest): Promise<number> {
    await this.#step('unlink')
    return (this.#take(digest) ?? 0) + (await this.quarantine.remove(digest))
  }

  async list({
    after = '' as Digest,
    limit,
  }: {
    after?: Digest | undefined
    limit: number
  }): Promise<Digest[]> {
    const behind = [...this.#blobs.keys()].filter((digest) => digest > after)
    return behind.toSorted().slice(0, limit)
  }

  async room(): Promise<DiskRoom> {
    return { bytes: this.#free, files: { free: 0, total: 0 } }
  }

  async probe(): Promise<void> {
    await this.#step('write')
    if (this.#free <= 0) throw new StorageError('FULL', 'the memory store is full')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#openPartials.size + this.#openUploads.size > 0)
      throw new Error('a partial or an upload is still open: its owner must end it first')
  }

  /** Damages a stored blob as a bad disk or a careless hand does: its file is another one, or only its bytes differ. */
  damage(digest: Digest, change: (bytes: Buffer) => Buffer, options: { touches: boolean }): void {
    const entry = this.#blobs.get(digest)
    if (!entry) throw new Error(`${digest} is not stored`)
    const { inode, mtime } = entry.file
    const file = options.touches ? this.#newFile() : new MemoryFile(inode, mtime)
    const bytes = change(Buffer.from(entry.file.read(0, entry.file.present.total)))
    file.write(0, bytes, options.touches ? this.#now() : mtime)
    this.#blobs.set(digest, { ...entry, file })
  }

  /** What a later process finds after a crash at this moment. Whoever still works with this store works in vain. */
  afterCrash({ kind, keeps }: Crash, options: MemoryBlobStoreOptions = this.#options): MemoryBlobStore {
    const later = new MemoryBlobStore(options)
    later.#inodes = this.#inodes
    this.#hasCrashed = true
    for (const [id, file] of this.#partials) {
      const isGone = kind === 'power' && this.#openPartials.has(id) && !keeps()
      if (!isGone) later.#partials.set(id, file.remains(remaining(file, kind, keeps)))
    }
    for (const [id, file] of this.#uploads) {
      // What is in the file is there, however it was cut.
      if (kind === 'killed' || keeps()) later.#uploads.set(id, file.remains(copyOf(file.present)))
    }
    for (const [digest, entry] of this.#blobs) {
      const isThere = kind === 'killed' || entry.isDurable || keeps()
      if (isThere) later.#blobs.set(digest, { ...entry, isDurable: true, before: undefined })
      else {
        // The rename is lost: under its name is what was there before, and the file has its old name, or none.
        if (entry.before) later.#blobs.set(digest, entry.before)
        if (keeps()) later.#partials.set(entry.partialId, entry.file.remains(copyOf(entry.file.present)))
      }
    }
    for (const [digest, entry] of this.#unlinked) {
      if (kind === 'power' && !this.#blobs.has(digest) && keeps()) later.#blobs.set(digest, entry)
    }
    return later
  }

  /** Its bytes; undefined where it is not stored. */
  #take(digest: Digest): number | undefined {
    const entry = this.#blobs.get(digest)
    if (!entry) return undefined
    this.#blobs.delete(digest)
    const durable = entry.isDurable ? entry : entry.before
    if (durable) this.#unlinked.set(digest, durable)
    return entry.file.present.total
  }

  async #openPartial({ id, algorithm }: PartialOptions): Promise<Partial> {
    const [file, hooks] = await this.#open(id, this.#partials, this.#openPartials)
    return new MemoryPartial(id, algorithm, file, hooks)
  }

  async #openWriter({ id }: BlobWriterOptions): Promise<BlobWriter> {
    return new MemoryBlobWriter(id, ...(await this.#open(id, this.#uploads, this.#openUploads)))
  }

  async #open(
    id: string,
    files: Map<string, MemoryFile>,
    open: Set<string>,
  ): Promise<[MemoryFile, MemoryHooks]> {
    assertPartialId(id)
    if (open.has(id)) throw new Error(`${id} is open already`)
    open.add(id)
    try {
      await this.#step('open-partial')
    } catch (error) {
      open.delete(id)
      throw error
    }
    const file = files.get(id) ?? this.#newFile()
    files.set(id, file)
    const hooks: MemoryHooks = {
      step: (name) => this.#step(name),
      now: this.#now,
      take: (bytes) => {
        if (bytes > this.#free) throw new StorageError('FULL', 'the memory store is full')
      },
      publish: (digest) => this.#publish(id, file, digest),
      remove: () => files.delete(id),
      onEnd: () => open.delete(id),
    }
    return [file, hooks]
  }

  async #publish(id: string, file: MemoryFile, digest: Digest): Promise<void> {
    await this.#step('rename')
    const before = this.#blobs.get(digest)
    const durable = before?.isDurable ? before : (before?.before ?? this.#unlinked.get(digest))
    const entry = { file, partialId: id, isDurable: false, before: durable }
    this.#partials.delete(id)
    this.#uploads.delete(id)
    this.#blobs.set(digest, entry)
    try {
      await this.#step('sync-folder')
      entry.isDurable = true
      this.#unlinked.delete(digest)
      await this.quarantine.remove(digest)
    } catch (error) {
      // Nobody may find what a power cut could take; where it was stored before, it is as durable as it was.
      if (!before && this.#blobs.get(digest) === entry) this.#blobs.delete(digest)
      throw new StorageError('BROKEN', `the folder of ${digest} could not be synced`, { cause: error })
    }
  }

  #found(id: string): FoundPartial | undefined {
    const file = this.#partials.get(id)
    return file && { id, bytes: file.present.total, touchedAt: file.mtime }
  }

  #newFile(): MemoryFile {
    this.#inodes += 1
    return new MemoryFile(this.#inodes, this.#now())
  }

  get #free(): number {
    const under = [...this.#partials.values(), ...this.#uploads.values()]
    const partial = under.reduce((sum, { present }) => sum + present.total, 0)
    return (this.#options.room ?? Number.POSITIVE_INFINITY) - this.stored.bytes - partial
  }

  async #step(name: string): Promise<void> {
    await this.#options.step?.(name)
    if (this.#hasCrashed) throw new StorageError('BROKEN', `the process has ended before "${name}"`)
  }
}
