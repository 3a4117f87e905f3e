import type { Digest } from '../../oci/digest.ts'
import type { Catalog, CatalogVerbs } from '../catalog.ts'
import { StorageError } from '../error.ts'
import type { ListedAsked } from '../listed-names.ts'
import { localOrigin, type RepositoryKey } from '../repository-key.ts'
import { nothingStored, type Usage } from '../stored-bytes.ts'
import { type CatalogListeners, CurrentFile, unreadable } from './current-file.ts'
import type { OpenFile } from './open-file.ts'
import { leaseOf, misses, type Question, sqliteReads } from './reads.ts'
import { isDamage } from './sqlite-errors.ts'
import type { Statements } from './statements.ts'
import type { CatalogBeside } from './writer-thread.ts'

/**
 * The catalog in SQLite (WAL). Reads run here, on a connection of their own; verbs run in a worker thread, so that a
 * slow disk never stalls a transfer, and resolve once they are synced. Where its file turns out to be damaged, what is
 * asked meanwhile waits for the new one, and what was under way is done again. What is lost is a miss. While nothing can
 * be read, so is what an upstream can tell; questions about what was pushed reject.
 */
export class SqliteCatalog implements Catalog {
  readonly #file: CurrentFile

  readonly repository = this.#read('repository')
  readonly repositories = this.#read('repositories')
  readonly listed = this.#read('listed')
  readonly isPushed = this.#read('isPushed')
  readonly held = this.#read('held')
  readonly named = this.#read('named')
  readonly isFree = this.#read('isFree')
  readonly localHolders = this.#read('localHolders')
  readonly keeping = this.#read('keeping')
  readonly holders = this.#read('holders')
  readonly namers = this.#read('namers')
  readonly manifest = this.#read('manifest')
  readonly tag = this.#read('tag')
  readonly tags = this.#read('tags')
  readonly referrers = this.#read('referrers')
  readonly naming = this.#read('naming')
  readonly blob = this.#read('blob')
  readonly blobs = this.#read('blobs')
  readonly idle = this.#read('idle')
  readonly removals = this.#read('removals')
  readonly leastRecent = this.#read('leastRecent')
  readonly unverified = this.#read('unverified')
  readonly pins = this.#read('pins')
  readonly fact = this.#read('fact')
  readonly upload = this.#read('upload')
  readonly staleUploads = this.#read('staleUploads')
  readonly wishes = this.#read('wishes')

  readonly pulled = this.#verb('pulled')
  readonly checked = this.#verb('checked')
  readonly confirmed = this.#verb('confirmed')
  readonly refused = this.#verb('refused')
  readonly saveReferrers = this.#verb('saveReferrers')
  readonly sealed = this.#verb('sealed')
  readonly verified = this.#verb('verified')
  readonly adopt = this.#verb('adopt')
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
  readonly pin = this.#verb('pin')
  readonly unpin = this.#verb('unpin')
  readonly setFact = this.#verb('setFact')
  readonly beginUpload = this.#verb('beginUpload')
  readonly endUpload = this.#verb('endUpload')
  readonly wish = this.#verb('wish')
  readonly unwish = this.#verb('unwish')
  readonly #renewLease = this.#verb('lease')

  private constructor(file: CurrentFile) {
    this.#file = file
  }

  /**
   * Opens the catalog in the file at `path`, made where it is missing, and brings it to the newest schema. A damaged
   * one is set aside, now or later, and what can be read of it taken over: the bytes of blobs are in the blob store, and
   * what upstreams have said comes back with the next pulls, and what was pushed from the journal of that.
   */
  static async open(
    path: string,
    listeners: CatalogListeners = {},
    beside: CatalogBeside = {},
  ): Promise<SqliteCatalog> {
    return new SqliteCatalog(await CurrentFile.open(path, listeners, beside))
  }

  /**
   * Most are told without a write: what was promised a moment ago is promised for long enough.
   *
   * 1. a lease reads here that the blob was idle for less than a quarter of the grace; 2. a collector lets it go in
   * the writer: only what has been idle for the whole grace; so whatever the order, what is told at 1 holds for three
   * quarters of it. What is not idle now is idle from the moment on at which its manifest is deleted.
   */
  async lease(repository: RepositoryKey, digest: Digest, at: number, graceMs: number): Promise<boolean> {
    const file = this.#file.now
    try {
      const lease = file && leaseOf(file.statements, repository, digest, at - graceMs / 4)
      if (file && !lease) return false
      if (lease?.isFresh) return true
    } catch (error) {
      this.#missed(file, error)
    }
    return this.#renewLease(repository, digest, at, graceMs)
  }

  /** None where nothing can be read. */
  async usage(): Promise<Usage> {
    return (this.#file.now ?? (await this.#file.ifAny()))?.writer.usage ?? nothingStored
  }

  /** Rejects with StorageError where it cannot be written: it is damaged or gone for good, or its writer has ended. */
  async probe(): Promise<void> {
    const file = await this.#file.writable()
    if (file.files.areGone) this.#file.replace(file)
    // A transaction without a change costs no sync.
    await this.used([], Date.now())
  }

  /** Rejects where its file was removed and cannot be put back: what it held is lost. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#file[Symbol.asyncDispose]()
  }

  #read<Name extends Question>(name: Name): Catalog[Name] {
    const run = sqliteReads[name] as (statements: Statements, ...parameters: unknown[]) => unknown
    const read = async (...parameters: unknown[]) => {
      const file = this.#file.now ?? (await this.#file.ifAny())
      try {
        if (file) return run(file.statements, ...parameters)
      } catch (error) {
        this.#missed(file, error)
      }
      const next = await this.#file.ifAny()
      try {
        if (next) return run(next.statements, ...parameters)
      } catch (error) {
        this.#missed(next, error)
      }
      if (isOfPushed(name, parameters)) throw unreadable()
      return misses[name]
    }
    return read as Catalog[Name]
  }

  #verb<Verb extends keyof CatalogVerbs>(verb: Verb): CatalogVerbs[Verb] {
    const run = async (...parameters: unknown[]) => {
      const file = this.#file.now ?? (await this.#file.writable())
      try {
        return await file.writer.run(verb, parameters)
      } catch (error) {
        if (!(error instanceof StorageError && error.code === 'CORRUPT')) throw error
        this.#file.replace(file)
        return (await this.#file.writable()).writer.run(verb, parameters)
      }
    }
    return run as CatalogVerbs[Verb]
  }

  /** What is damaged is a miss; other failures are thrown on. */
  #missed(file: OpenFile | undefined, error: unknown): void {
    if (!isDamage(error)) throw StorageError.from(error, 'the catalog could not be read')
    if (file) this.#file.replace(file)
  }
}

/** Whether a question is about what was pushed here, of which nobody else could tell. */
function isOfPushed(name: Question, [first]: readonly unknown[]): boolean {
  if (name === 'listed') return (first as ListedAsked).origin === localOrigin
  return name === 'upload' || `${first}`.startsWith(`${localOrigin}:`)
}
