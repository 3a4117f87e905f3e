import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { StorageError } from '../error.ts'
import { setForeignJournalAside } from './generation.ts'
import { assertUnused } from './open-database.ts'
import { type OpenFile, type OpeningListeners, openFile } from './open-file.ts'
import { OpenMark } from './open-mark.ts'
import { finishRebuild, putBack, rebuild, removeUnfinished, takeOverwritten } from './rebuild.ts'
import { isDamage } from './sqlite-errors.ts'
import type { CatalogBeside } from './writer-thread.ts'

/** Who is told of what happens to the file of a catalog. */
export interface CatalogListeners extends OpeningListeners {
  /** It was damaged, and is kept under this name; what can be read of it is in a new one. */
  readonly onDamaged?: ((keptAs: string) => void) | undefined
  /** It was removed or replaced while it was open, and was put back; what lay in its place is kept under this name. */
  readonly onPutBack?: ((keptAs: string | undefined) => void) | undefined
  /** It is about to be put back; where this throws it is not. */
  readonly beforePutBack?: (() => void) | undefined
  /** Somebody has written another one into it while it was open: that one is used, with what was pushed since. */
  readonly onOverwritten?: (() => void) | undefined
  /** Its journal was one of a newer file, and is kept under this name: an older catalog was put back. */
  readonly onForeignJournal?: ((keptAs: string) => void) | undefined
  /** Its journal, with the last changes, was removed since a process ended that did not stop properly. */
  readonly onJournalLost?: (() => void) | undefined
}

/** How often a new catalog is begun in place of a damaged one before the disk is given up. */
const maximumReplacements = 3
const retryMs = 1000

/**
 * The file of a catalog that is open now. Where it turns out to be damaged, whenever that is, it is set aside and a new
 * one begun with what can still be read; one that was removed is written down again. Dispose to close it.
 */
export class CurrentFile implements AsyncDisposable {
  readonly #path: string
  readonly #listeners: CatalogListeners
  readonly #beside: CatalogBeside
  /** Undefined while a new one is begun, and where that failed. */
  #file: OpenFile | undefined
  /** One that is gone and could not be put back, for want of room perhaps: nothing but this connection reads it. */
  #unsaved: OpenFile | undefined
  #opening: Promise<void> = Promise.resolve()
  /** When none could be opened in place of a damaged one, of `performance.now()`. */
  #failedAt: number | undefined
  #replacements = 0

  private constructor(path: string, file: OpenFile, listeners: CatalogListeners, beside: CatalogBeside) {
    this.#path = path
    this.#file = file
    this.#listeners = listeners
    this.#beside = beside
  }

  /** See `SqliteCatalog.open`. */
  static async open(path: string, listeners: CatalogListeners, beside: CatalogBeside): Promise<CurrentFile> {
    const isThere = existsSync(path)
    if (isThere) await removeUnfinished(path)
    else await finishRebuild(path)
    const foreignJournal = isThere ? setForeignJournalAside(path) : undefined
    if (foreignJournal !== undefined) listeners.onForeignJournal?.(foreignJournal)
    const isJournalLost =
      isThere && foreignJournal === undefined && new OpenMark(path).isSet && !existsSync(`${path}-wal`)
    assertUnused(path)
    if (isJournalLost) listeners.onJournalLost?.()
    try {
      return new CurrentFile(path, await openFile(path, listeners, beside), listeners, beside)
    } catch (error) {
      if (!isDamage(error)) throw error
      const keptAs = await rebuild(path, beside)
      listeners.onDamaged?.(keptAs)
      return new CurrentFile(path, await openFile(path, {}, beside), listeners, beside)
    }
  }

  /** The one that is open; undefined while a new one is begun, and where that failed. */
  get now(): OpenFile | undefined {
    return this.#file
  }

  /** Once a new one is begun, if that is under way; undefined where none could be. */
  async ifAny(): Promise<OpenFile | undefined> {
    this.#tryAgain()
    await this.#opening.catch(() => {})
    return this.#file
  }

  /** As `ifAny`, of which what could not be put back is tried again. Rejects with StorageError where there is none. */
  async writable(): Promise<OpenFile> {
    if (this.#unsaved) this.#beginAfter(this.#unsaved)
    this.#tryAgain()
    await this.#opening
    if (this.#file) return this.#file
    throw unreadable()
  }

  /** Begins a new catalog in place of this one, once, whoever finds it damaged or gone. */
  replace(file: OpenFile): void {
    if (this.#file !== file) return
    this.#file = undefined
    file.writer.abandon(new StorageError('CORRUPT', 'the catalog is damaged, or its file is gone'))
    this.#beginAfter(file)
  }

  /** Rejects where its file was removed and cannot be put back: what it held is lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opening.catch(() => {})
    this.#failedAt = undefined
    // Where its folder is gone as well nobody wants it back.
    const isWanted = existsSync(dirname(this.#path))
    if (this.#file?.files.areGone && isWanted) this.replace(this.#file)
    else if (this.#unsaved) this.#beginAfter(this.#unsaved)
    else if (this.#file && isWanted) {
      await this.#file.writer[Symbol.asyncDispose]()
      if (this.#file?.writer.isOverwritten) this.replace(this.#file)
    }
    await this.#opening.catch((error) => {
      if (this.#unsaved) throw error
    })
    const file = this.#file
    await file?.writer[Symbol.asyncDispose]()
    if (file?.database.isOpen) {
      new OpenMark(this.#path).takeAway(file.database)
      file.database.close()
    }
  }

  /** A disk that failed for a moment is not given up: what lies on it may be whole. */
  #tryAgain(): void {
    if (this.#failedAt === undefined || performance.now() - this.#failedAt < retryMs) return
    this.#failedAt = undefined
    this.#opening = this.#reopen()
    this.#opening.catch(() => {})
  }

  async #reopen(): Promise<void> {
    try {
      if (existsSync(this.#path)) await removeUnfinished(this.#path)
      else await finishRebuild(this.#path)
      this.#file = await openFile(this.#path, {}, this.#beside)
    } catch (error) {
      this.#failedAt = performance.now()
      const failure = StorageError.from(error, 'the catalog cannot be opened')
      throw failure instanceof StorageError ? failure : unreadable(error)
    }
  }

  /** Whoever has written it may not have come to its end. */
  async #openOrRebuild(): Promise<OpenFile> {
    try {
      return await openFile(this.#path, {}, this.#beside)
    } catch (error) {
      if (!isDamage(error)) throw error
      this.#listeners.onDamaged?.(await rebuild(this.#path, this.#beside))
      return openFile(this.#path, {}, this.#beside)
    }
  }

  #beginAfter(former: OpenFile): void {
    this.#unsaved = undefined
    this.#opening = this.#begin(former)
    // Whoever waits for it hears of a failure; nobody may.
    this.#opening.catch(() => {})
  }

  async #begin(former: OpenFile): Promise<void> {
    await former.writer[Symbol.asyncDispose]().catch(() => {})
    try {
      if (former.files.areGone) {
        this.#listeners.beforePutBack?.()
        const keptAs = await putBack(this.#path, former.database, former.files)
        this.#listeners.onPutBack?.(keptAs)
      } else if (former.writer.isOverwritten) {
        this.#listeners.beforePutBack?.()
        await takeOverwritten(this.#path, former.database)
        this.#listeners.onOverwritten?.()
        this.#file = await this.#openOrRebuild()
        return
      } else {
        former.database.close()
        this.#replacements += 1
        if (this.#replacements > maximumReplacements) throw unreadable()
        const keptAs = await rebuild(this.#path, this.#beside)
        this.#listeners.onDamaged?.(keptAs)
      }
      this.#file = await openFile(this.#path, {}, this.#beside)
    } catch (error) {
      if (former.database.isOpen) this.#unsaved = former
      else this.#failedAt = performance.now()
      const what = 'the catalog is damaged or gone, and no new one can be begun'
      const failure = StorageError.from(error, what)
      throw failure instanceof StorageError ? failure : new StorageError('BROKEN', what, { cause: error })
    }
  }
}

/** Nothing can be read, nor written. */
export function unreadable(cause?: unknown): StorageError {
  return new StorageError('CORRUPT', 'the catalog is damaged, or cannot be read: look at the disk', { cause })
}
