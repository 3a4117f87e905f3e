import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Digest } from '../../oci/digest.ts'
import type { Catalog, CatalogReads, CatalogVerbs } from '../catalog.ts'
import { StorageError } from '../error.ts'
import type { ListedAsked } from '../listed-names.ts'
import { localOrigin, type RepositoryKey } from '../repository-key.ts'
import type { Reserve } from '../reserve.ts'
import { assertUnused } from './open-database.ts'
import { type OpenFile, type OpeningListeners, openFile } from './open-file.ts'
import { OpenMark } from './open-mark.ts'
import { leaseOf, misses, sqliteReads } from './reads.ts'
import { finishRebuild, putBack, rebuild, removeUnfinished } from './rebuild.ts'
import { isDamage } from './sqlite-errors.ts'
import type { Statements } from './statements.ts'

/** Who is told of what happens to the file of a catalog. */
export interface CatalogListeners extends OpeningListeners {
  /** It was damaged, and is kept under this name; what can be read of it is in a new one. */
  readonly onDamaged?: ((keptAs: string) => void) | undefined
  /** It was removed or replaced while it was open, and was put back; what lay in its place is kept under this name. */
  readonly onPutBack?: ((keptAs: string | undefined) => void) | undefined
  /** It is about to be put back; where this throws it is not. */
  readonly beforePutBack?: (() => void) | undefined
  /** Its journal, with the last changes, was removed since a process ended that did not stop properly. */
  readonly onJournalLost?: (() => void) | undefined
}

/** How often a new catalog is begun in place of a damaged one before the disk is given up. */
const maximumReplacements = 3
const retryMs = 1000

/**
 * The catalog in SQLite (WAL). Reads run here, on a connection of their own; verbs run in a worker thread, so that a
 * slow disk never stalls a transfer, and resolve once they are synced. Where it turns out to be damaged, whenever that
 * is, the file is set aside and a new one begun with what can still be read; what is asked meanwhile waits for that, and
 * what was under way is done again. What is lost is a miss. While nothing can be read, so is what an upstream can tell;
 * questions about what was pushed reject.
 */
export class SqliteCatalog implements Catalog {
  readonly #path: string
  readonly #listeners: CatalogListeners
  readonly #reserve: Reserve | undefined
  /** Undefined while a new one is begun, and where that failed. */
  #file: OpenFile | undefined
  /** One that is gone and could not be put back, for want of room perhaps: nothing but this connection reads it. */
  #unsaved: OpenFile | undefined
  #opening: Promise<void> = Promise.resolve()
  /** When none could be opened in place of a damaged one, of `performance.now()`. */
  #failedAt: number | undefined
  #replacements = 0

  readonly repository = this.#read('repository')
  readonly repositories = this.#read('repositories')
  readonly listed = this.#read('listed')
  readonly isPushed = this.#read('isPushed')
  readonly held = this.#read('held')
  readonly named = this.#read('named')
  readonly isFree = this.#read('isFree')
  readonly localHolders = this.#read('localHolders')
  readonly manifest = this.#read('manifest')
  readonly tag = this.#read('tag')
  readonly tags = this.#read('tags')
  readonly referrers = this.#read('referrers')
  readonly naming = this.#read('naming')
  readonly blob = this.#read('blob')
  readonly usage = this.#read('usage')
  readonly idle = this.#read('idle')
  readonly removals = this.#read('removals')
  readonly leastRecent = this.#read('leastRecent')
  readonly unverified = this.#read('unverified')
  readonly upload = this.#read('upload')
  readonly staleUploads = this.#read('staleUploads')

  readonly pulled = this.#verb('pulled')
  readonly checked = this.#verb('checked')
  readonly confirmed = this.#verb('confirmed')
  readonly refused = this.#verb('refused')
  readonly saveReferrers = this.#verb('saveReferrers')
  readonly sealed = this.#verb('sealed')
  readonly verified = this.#verb('verified')
  readonly used = this.#verb('used')
  readonly gone = this.#verb('gone')
  readonly pushed = this.#verb('pushed')
  readonly mount = this.#verb('mount')
  readonly putManifest = this.#verb('putManifest')
  readonly deleteTag = this.#verb('deleteTag')
  readonly deleteManifest = this.#verb('deleteManifest')
  readonly deleteBlob = this.#verb('deleteBlob')
  readonly letGo = this.#verb('letGo')
  readonly evict = this.#verb('evict')
  readonly mayGo = this.#verb('mayGo')
  readonly removed = this.#verb('removed')
  readonly beginUpload = this.#verb('beginUpload')
  readonly endUpload = this.#verb('endUpload')
  readonly #renewLease = this.#verb('lease')

  private constructor(path: string, file: OpenFile, listeners: CatalogListeners, reserve?: Reserve) {
    this.#path = path
    this.#file = file
    this.#listeners = listeners
    this.#reserve = reserve
  }

  /**
   * Opens the catalog in the file at `path`, made where it is missing, and brings it to the newest schema. A damaged
   * one is set aside, now or later, and what can be read of it taken over: the bytes of blobs are in the blob store, and
   * what upstreams have said comes back with the next pulls. `reserve`: given up for deletes where the disk is full.
   */
  static async open(
    path: string,
    listeners: CatalogListeners = {},
    reserve?: Reserve,
  ): Promise<SqliteCatalog> {
    const isThere = existsSync(path)
    if (isThere) await removeUnfinished(path)
    else await finishRebuild(path)
    const isJournalLost = isThere && new OpenMark(path).isSet && !existsSync(`${path}-wal`)
    assertUnused(path)
    if (isJournalLost) listeners.onJournalLost?.()
    try {
      return new SqliteCatalog(path, await openFile(path, listeners, reserve), listeners, reserve)
    } catch (error) {
      if (!isDamage(error)) throw error
      const keptAs = await rebuild(path)
      listeners.onDamaged?.(keptAs)
      return new SqliteCatalog(path, await openFile(path, {}, reserve), listeners, reserve)
    }
  }

  /**
   * Most are told without a write: what was promised a moment ago is promised for long enough.
   *
   * 1. a lease reads here that the blob was idle for less than a quarter of the grace; 2. a collector lets it go in
   * the writer: only what has been idle for the whole grace; so whatever the order, what is told at 1 holds for three
   * quarters of it. What is not idle now is idle from the moment on at which its manifest is deleted.
   */
  async lease(repository: RepositoryKey, digest: Digest, at: number, graceMs: number): Promise<boolean> {
    const file = this.#file
    try {
      const lease = file && leaseOf(file.statements, repository, digest, at - graceMs / 4)
      if (file && !lease) return false
      if (lease?.isFresh) return true
    } catch (error) {
      this.#missed(file, error)
    }
    return this.#renewLease(repository, digest, at, graceMs)
  }

  /** Rejects with StorageError where it cannot be written: it is damaged or gone for good, or its writer has ended. */
  async probe(): Promise<void> {
    const file = await this.#current()
    if (file.files.areGone) this.#replace(file)
    // A transaction without a change costs no sync.
    await (await this.#current()).writer.run('used', [[], Date.now()])
  }

  /** Rejects where its file was removed and cannot be put back: what it held is lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opening.catch(() => {})
    this.#failedAt = undefined
    // Where its folder is gone as well nobody wants it back.
    const isWanted = existsSync(dirname(this.#path))
    if (this.#file?.files.areGone && isWanted) this.#replace(this.#file)
    else if (this.#unsaved) this.#beginAfter(this.#unsaved)
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

  #read<Name extends keyof CatalogReads>(name: Name): CatalogReads[Name] {
    const run = sqliteReads[name] as (statements: Statements, ...parameters: unknown[]) => unknown
    const read = async (...parameters: unknown[]) => {
      const file = this.#file ?? (await this.#currentIfAny())
      try {
        if (file) return run(file.statements, ...parameters)
      } catch (error) {
        this.#missed(file, error)
      }
      const next = await this.#currentIfAny()
      try {
        if (next) return run(next.statements, ...parameters)
      } catch (error) {
        this.#missed(next, error)
      }
      if (isOfPushed(name, parameters)) throw unreadable()
      return misses[name]
    }
    return read as CatalogReads[Name]
  }

  #verb<Verb extends keyof CatalogVerbs>(verb: Verb): CatalogVerbs[Verb] {
    const run = async (...parameters: unknown[]) => {
      const file = this.#file ?? (await this.#current())
      try {
        return await file.writer.run(verb, parameters)
      } catch (error) {
        if (!(error instanceof StorageError && error.code === 'CORRUPT')) throw error
        this.#replace(file)
        return (await this.#current()).writer.run(verb, parameters)
      }
    }
    return run as CatalogVerbs[Verb]
  }

  /** What is damaged is a miss; other failures are thrown on. */
  #missed(file: OpenFile | undefined, error: unknown): void {
    if (!isDamage(error)) throw StorageError.from(error, 'the catalog could not be read')
    if (file) this.#replace(file)
  }

  async #currentIfAny(): Promise<OpenFile | undefined> {
    this.#tryAgain()
    await this.#opening.catch(() => {})
    return this.#file
  }

  async #current(): Promise<OpenFile> {
    if (this.#unsaved) this.#beginAfter(this.#unsaved)
    this.#tryAgain()
    await this.#opening
    if (this.#file) return this.#file
    throw unreadable()
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
      this.#file = await openFile(this.#path, {}, this.#reserve)
    } catch (error) {
      this.#failedAt = performance.now()
      const failure = StorageError.from(error, 'the catalog cannot be opened')
      throw failure instanceof StorageError ? failure : unreadable(error)
    }
  }

  /** Begins a new catalog in place of this one, once, whoever finds it damaged or gone. */
  #replace(file: OpenFile): void {
    if (this.#file !== file) return
    this.#file = undefined
    file.writer.abandon(new StorageError('CORRUPT', 'the catalog is damaged, or its file is gone'))
    this.#beginAfter(file)
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
      } else {
        former.database.close()
        this.#replacements += 1
        if (this.#replacements > maximumReplacements) throw unreadable()
        const keptAs = await rebuild(this.#path)
        this.#listeners.onDamaged?.(keptAs)
      }
      this.#file = await openFile(this.#path, {}, this.#reserve)
    } catch (error) {
      if (former.database.isOpen) this.#unsaved = former
      else this.#failedAt = performance.now()
      const what = 'the catalog is damaged or gone, and no new one can be begun'
      const failure = StorageError.from(error, what)
      throw failure instanceof StorageError ? failure : new StorageError('BROKEN', what, { cause: error })
    }
  }
}

/** Whether a question is about what was pushed here, of which nobody else could tell. */
function isOfPushed(name: keyof CatalogReads, [first]: readonly unknown[]): boolean {
  if (name === 'listed') return (first as ListedAsked).origin === localOrigin
  return name === 'upload' || `${first}`.startsWith(`${localOrigin}:`)
}

function unreadable(cause?: unknown): StorageError {
  return new StorageError('CORRUPT', 'the catalog is damaged, or cannot be read: look at the disk', { cause })
}
