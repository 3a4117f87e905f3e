import { lstat, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { FoundPartial, PartialOptions, Partials } from '../blob-store.ts'
import { asStorageError } from '../error.ts'
import { assertPartialId, isPartialId } from '../partial-id.ts'
import { Ranges } from '../ranges.ts'
import { absentIfMissing, fileErrorCode } from './file-errors.ts'
import { FilePartial, type FilePartialHooks } from './file-partial.ts'
import { inFolder } from './in-folder.ts'
import { journalPathOf, PartialJournal } from './partial-journal.ts'

/** A partial that nobody touched for so many milliseconds goes at the next start. */
const keptMs = 30 * 24 * 60 * 60 * 1000

/** Partials as files `<id>` with `<id>.journal` beside them, in one folder. */
export class FilePartials implements Partials {
  readonly #folder: string
  readonly #hooks: Omit<FilePartialHooks, 'onEnd'>
  /** By id; undefined while it is opened or removed. */
  readonly #open = new Map<string, FilePartial | undefined>()
  /** What there may be a file of: each blob that is pushed removes what a fill may have left of it, mostly nothing. */
  readonly #left = new Set<string>()
  /** What should have gone, and could not be removed. */
  readonly #unwanted = new Set<string>()

  constructor(folder: string, hooks: Omit<FilePartialHooks, 'onEnd'>) {
    this.#folder = folder
    this.#hooks = hooks
  }

  get openCount(): number {
    return this.#open.size
  }

  async find(id: string): Promise<FoundPartial | undefined> {
    assertPartialId(id)
    return asStorageError(`partial ${id} could not be looked at`, this.#find(id))
  }

  async open(options: PartialOptions): Promise<FilePartial> {
    const { id } = options
    assertPartialId(id)
    const path = this.pathOf(id)
    const onEnd: FilePartialHooks['onEnd'] = (end) => {
      this.#open.delete(id)
      if (end === 'gone') this.#left.delete(id)
      if (end === 'left') this.#unwanted.add(id)
    }
    const hooks = { ...this.#hooks, onEnd }
    this.#claim(id)
    this.#left.add(id)
    try {
      // A disk that failed has them: they are not gone on with, whatever their journal says.
      if (this.#unwanted.has(id)) await asStorageError(`partial ${id} could not be removed`, this.#remove(id))
      const opening = inFolder(this.#folder, () => FilePartial.open(path, options, hooks)).catch(
        async (error: unknown) => {
          // A folder in its place, or in that of its journal.
          if (fileErrorCode(error) !== 'EISDIR') throw error
          await this.#remove(id)
          return FilePartial.open(path, options, hooks)
        },
      )
      const partial = await asStorageError(`partial ${id} could not be opened`, opening)
      this.#open.set(id, partial)
      return partial
    } catch (error) {
      this.#open.delete(id)
      throw error
    }
  }

  async list(): Promise<FoundPartial[]> {
    return asStorageError('the partials could not be listed', this.#list())
  }

  async remove(id: string): Promise<void> {
    assertPartialId(id)
    // 1. it begins to remove; 2. somebody opens a new one of that name; 3. the new one's file is removed.
    this.#claim(id)
    try {
      if (!this.#left.has(id)) return
      await asStorageError(`partial ${id} could not be removed`, this.#remove(id))
      this.#left.delete(id)
    } finally {
      this.#open.delete(id)
    }
  }

  /**
   * Removes what nobody asked for in a month, and what is of no use: a journal whose bytes are gone or sealed, and
   * bytes without a journal. For the start, when none is open. Throws the file system's error.
   */
  async tidy(): Promise<void> {
    const entries = await readdir(this.#folder, { withFileTypes: true })
    const files = new Set(entries.filter((entry) => entry.isFile()).map(({ name }) => name))
    for (const entry of entries) {
      const { name } = entry
      const id = name.replace(/\.journal$/, '')
      const isWhole = files.has(id) && files.has(journalPathOf(id))
      const touchedAt = await this.#touchedAt(isWhole ? [id, journalPathOf(id)] : [name])
      const isForgotten = Date.now() - (touchedAt ?? 0) > keptMs && !entry.isDirectory()
      // What has the place of a partial goes, a folder too; any other folder is somebody's.
      const isInTheWay = isPartialId(id) && !isWhole
      if (isPartialId(id)) this.#left.add(id)
      if (isForgotten || isInTheWay) await rm(join(this.#folder, name), { force: true, recursive: true })
    }
  }

  /** Where the bytes of the partial `id` lie. */
  pathOf(id: string): string {
    return join(this.#folder, id)
  }

  #claim(id: string): void {
    if (this.#open.has(id)) throw new Error(`partial ${id} is open already`)
    this.#open.set(id, undefined)
  }

  async #find(id: string): Promise<FoundPartial | undefined> {
    const touchedAt = await this.#touchedAt([id, journalPathOf(id)])
    if (touchedAt === undefined) return undefined
    const open = this.#open.get(id)
    return { id, bytes: open ? open.present.total : await this.#journalledBytes(id), touchedAt }
  }

  async #list(): Promise<FoundPartial[]> {
    const names = (await absentIfMissing(readdir(this.#folder))) ?? []
    const ids = new Set(names.map((name) => name.replace(/\.journal$/, '')).filter(isPartialId))
    const found: FoundPartial[] = []
    for (const id of [...ids].toSorted()) {
      const partial = await this.#find(id)
      if (partial) found.push(partial)
    }
    return found
  }

  async #remove(id: string): Promise<void> {
    for (const path of [journalPathOf(this.pathOf(id)), this.pathOf(id)])
      await absentIfMissing(rm(path, { force: true, recursive: true }))
    this.#unwanted.delete(id)
  }

  async #journalledBytes(id: string): Promise<number> {
    const path = this.pathOf(id)
    if (!(await absentIfMissing(lstat(path)))) return 0
    const present = new Ranges()
    for (const { start, length } of (await PartialJournal.read(journalPathOf(path), this.#hooks.boot)) ??
      []) {
      present.add(start, start + length)
    }
    return present.total
  }

  /** Milliseconds since the epoch, of the newest of these files; undefined where none is there. */
  async #touchedAt(names: readonly string[]): Promise<number | undefined> {
    const times: number[] = []
    for (const name of names) {
      const stats = await absentIfMissing(lstat(join(this.#folder, name)))
      if (stats) times.push(Math.trunc(stats.mtimeMs))
    }
    return times.length === 0 ? undefined : Math.max(...times)
  }
}
