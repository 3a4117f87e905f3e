import { closeSync, fsyncSync, openSync, renameSync, rmSync, statfsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DamagedRecord } from '../sqlite-errors.ts'
import { changeBy, type Numbered } from './change.ts'
import { JournalFile } from './journal-file.ts'
import {
  type FoundJournal,
  factOf,
  numberFact,
  type OpenedJournal,
  openBoth,
  type PushedJournalOptions,
} from './open-both.ts'
import { Snapshot } from './snapshot.ts'

/** A file that is written, and the number of the last change before it. */
interface NextFile {
  readonly file: JournalFile
  readonly from: number
  /** What is still to be written of what was there. */
  readonly snapshot: Snapshot
}

const defaultRoomForChanges = 4 * 1024 * 1024
/** Bytes of a disk that are left to others. */
const spareBytes = 16 * 1024 * 1024
/** Lines that are looked at in one step. */
const linesAtOnce = 20
/** Milliseconds after which what was appended is synced, and after which it is tried once more to write it anew. */
const syncMs = 1000
const defaultRetryMs = 10_000
/** Milliseconds of a start, and of a stop, that it may take. */
const longestStartMs = 200
const longestFinishMs = 2000

/**
 * Keeps what was pushed here once more, beside the catalog: where that is lost nobody else could tell. Each change has a
 * number, which the catalog has too, so that whichever of the two is the older one is known.
 *
 * The catalog comes first: 1. a change is committed there with its number; 2. it is appended here; 3. it is acknowledged.
 * After a kill between 1 and 2, after a power cut before it was synced, and where the disk did not take it, the journal
 * has a smaller last number, and is written anew from the catalog, beside the traffic. It never stands in a change's way.
 */
export class PushedJournal {
  readonly #options: PushedJournalOptions
  readonly #catalog: number
  readonly found: FoundJournal
  #number: number
  /** Undefined where it lacks something. */
  #file: JournalFile | undefined
  /** The one that will have its place, while it is written. */
  #next: NextFile | undefined
  #isTroubled = false
  #isDirty = false
  #isClosed = false
  #retry: NodeJS.Timeout | undefined

  private constructor(options: PushedJournalOptions, { catalog, number, file, ...found }: OpenedJournal) {
    this.#options = options
    this.#catalog = catalog
    this.#number = number
    this.#file = file
    this.found = found
  }

  /**
   * Brings the catalog and the journal together. Throws what SQLite says, and what the file system says where the journal
   * is needed and cannot be read.
   */
  static open(options: PushedJournalOptions): PushedJournal {
    const journal = new PushedJournal(options, openBoth(options))
    // A kill has left it.
    rmSync(journal.#nextPath, { force: true })
    if (journal.#file && !journal.found.replayed) journal.#check(journal.#file.lines())
    else {
      journal.#rewrite()
      // Of few pushes it is there before the next one.
      journal.#finish(longestStartMs)
    }
    return journal
  }

  /** Numbers what verbs have changed; in their transaction. */
  numbered(done: readonly Parameters<typeof changeBy>[0][]): Numbered[] {
    const changes = done.flatMap((one) => changeBy(one) ?? [])
    const last = this.#number + changes.length
    if (changes.length > 0) this.#options.statements.run('setFact', numberFact, last)
    return changes.map((change, n) => ({ ...change, number: this.#number + 1 + n }))
  }

  /** They are committed. Never throws. */
  append(changes: readonly Numbered[]): void {
    if (changes.length === 0) return
    this.#number += changes.length
    try {
      this.#next?.file.append(changes)
    } catch {
      this.#giveUpNext()
    }
    try {
      if (this.#file && !this.#file.isInPlace)
        throw new Error(`${this.#options.path} was removed or replaced`)
      this.#file?.append(changes)
    } catch (error) {
      this.#failed(error)
    }
    if (!this.#isDirty) setTimeout(() => this.#sync(), syncMs).unref()
    this.#isDirty = true
    const { size = 0 } = this.#file?.header ?? {}
    const grown = (this.#file?.size ?? 0) - size
    const { roomForChanges = defaultRoomForChanges } = this.#options
    if (grown > roomForChanges && grown > size) this.#rewrite()
  }

  /** Writes it anew where that is due. */
  close(): void {
    if (!this.#file) this.#rewrite()
    this.#isClosed = true
    clearTimeout(this.#retry)
    if (!this.#file) this.#finish(longestFinishMs)
    this.#giveUpNext()
    this.#file?.close()
  }

  /** From now on the file lacks something, until another one has its place. */
  #failed(error: unknown): void {
    this.#file?.close()
    this.#file = undefined
    this.#tell(error)
    this.#rewrite()
  }

  #tell(error: unknown): void {
    if (this.#isTroubled === (error !== undefined)) return
    this.#isTroubled = error !== undefined
    this.#options.onTrouble(error)
  }

  #sync(): void {
    const file = this.#file
    this.#isDirty = false
    file?.sync().catch((error) => {
      // What was not taken then is lost, whatever the next attempt says.
      if (!this.#isClosed && file === this.#file) this.#failed(error)
    })
  }

  /** Looks through the whole file, in steps: what is damaged in it shall not be found when it is needed. */
  #check(lines: ReturnType<JournalFile['lines']>): void {
    setImmediate(() => {
      if (this.#isClosed || this.#next) return
      try {
        for (let n = 0; n < linesAtOnce; n += 1) {
          const { done, value } = lines.next()
          if (done) return
          if (!value.change) return this.#rewrite()
        }
        this.#check(lines)
      } catch (error) {
        this.#failed(error)
      }
    })
  }

  /** Writes it anew, in steps between which the writer does its work. */
  #rewrite(): void {
    if (this.#next || this.#isClosed) return
    try {
      this.#assertKnown()
      this.#assertRoom()
      const mode = statSync(this.#options.catalogPath).mode & 0o777
      const file = JournalFile.create(this.#nextPath, mode)
      this.#next = { file, from: this.#number, snapshot: new Snapshot(this.#options.database) }
      this.#write(this.#next)
    } catch (error) {
      this.#notRewritten(error)
    }
  }

  #write(next: NextFile): void {
    setImmediate(() => {
      if (this.#next !== next) return
      try {
        if (this.#step(next)) return this.#write(next)
        // What is committed while it is synced is appended to it as well.
        next.file.sync().then(
          () => this.#next === next && this.#place(next),
          (error) => this.#next === next && this.#notRewritten(error),
        )
      } catch (error) {
        this.#notRewritten(error)
      }
    })
  }

  /** False where it was the last one, and the file is whole. */
  #step({ file, from, snapshot }: NextFile): boolean {
    const puts = snapshot.next()
    file.append(puts)
    if (puts.length > 0) return true
    file.begin({ catalog: this.#catalog, from, until: this.#number })
    return false
  }

  #place(next: NextFile): void {
    try {
      this.#assertKnown()
      renameSync(this.#nextPath, this.#options.path)
      syncFolder(dirname(this.#options.path))
    } catch (error) {
      this.#notRewritten(error)
      return
    }
    this.#file?.close()
    this.#file = next.file.movedTo(this.#options.path)
    this.#next = undefined
    this.#tell(undefined)
  }

  /** Writes the next one to its end at once, if that takes no more milliseconds than these. */
  #finish(longestMs: number): void {
    const next = this.#next
    if (!next) return
    const startedAt = performance.now()
    try {
      while (this.#step(next)) if (performance.now() - startedAt > longestMs) return
      next.file.syncNow()
      this.#place(next)
    } catch (error) {
      this.#notRewritten(error)
    }
  }

  #notRewritten(error: unknown): void {
    this.#giveUpNext()
    if (!this.#file) this.#tell(error)
    if (this.#isClosed) return
    const { retryMs = defaultRetryMs } = this.#options
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined
      this.#rewrite()
    }, retryMs).unref()
  }

  /** Never throws: on a disk that fails what is left of it lies there until the next one is begun, or the next start. */
  #giveUpNext(): void {
    const file = this.#next?.file
    this.#next = undefined
    if (!file) return
    file.close()
    try {
      rmSync(this.#nextPath, { force: true })
    } catch {}
  }

  /** A catalog that knows less than the journal gets what it lacks from that, never the other way round. */
  #assertKnown(): void {
    const { assertSound, statements } = this.#options
    assertSound?.()
    if ((factOf(statements, numberFact) ?? 0) < this.#number) {
      throw new DamagedRecord('the catalog lacks changes that pushed.journal has')
    }
  }

  /** What is given up half-way would have had the last bytes of a disk meanwhile. */
  #assertRoom(): void {
    const { path } = this.#options
    const { bavail, bsize } = statfsSync(dirname(path))
    const needed = statSync(path, { throwIfNoEntry: false })?.size ?? 0
    if (bavail * bsize < needed + spareBytes) throw new Error(`there is no room to write ${path} anew`)
  }

  get #nextPath(): string {
    return `${this.#options.path}.next`
  }
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}
