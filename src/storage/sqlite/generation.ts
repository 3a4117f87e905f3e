import { randomInt } from 'node:crypto'
import { closeSync, existsSync, openSync, readSync, renameSync, rmSync, statSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { DamagedRecord } from './sqlite-errors.ts'

// https://sqlite.org/fileformat.html: the header of a database, of a journal (`-wal`), and of each frame in that.
const magic = 'SQLite format 3\0'
const generationOffset = 68
const journalHeader = 32
const frameHeader = 24
/** Of a new catalog: far from those of others, and with room to count. */
const largestFirst = 2 ** 30

/**
 * The generation of a catalog is the application id in its header. It is counted up by the first commit after what the
 * journal held was brought to the file, so that a file that somebody else has put there is told from the one that the
 * journal goes on from. 0: a version wrote it that did not count.
 *
 * Undefined where the file is no database. To be asked only where nobody has it open, or something is wrong with it:
 * closing a file gives up all locks that this process has on it.
 */
function generationOf(path: string): number | undefined {
  const header = Buffer.alloc(generationOffset + 4)
  const file = openIfThere(path)
  if (file === undefined) return undefined
  try {
    if (readSync(file, header, 0, header.length, 0) < header.length) return undefined
  } finally {
    closeSync(file)
  }
  return header.toString('latin1', 0, magic.length) === magic
    ? header.readInt32BE(generationOffset)
    : undefined
}

/** The generations that were committed to the journal of the catalog at `path`, in their order. */
function generationsInJournal(path: string): number[] {
  const found: number[] = []
  const file = openIfThere(`${path}-wal`)
  if (file === undefined) return found
  try {
    const header = Buffer.alloc(journalHeader)
    if (readSync(file, header, 0, journalHeader, 0) < journalHeader) return found
    const pageSize = header.readUInt32BE(8)
    const frame = Buffer.alloc(frameHeader + generationOffset + 4)
    if (pageSize < frame.length) return found
    for (let at = journalHeader; ; at += frameHeader + pageSize) {
      if (readSync(file, frame, 0, frame.length, at) < frame.length) return found
      // The rest is of an earlier day.
      if (frame.compare(header, 16, 24, 8, 16) !== 0) return found
      if (frame.readUInt32BE(0) === 1) found.push(frame.readInt32BE(frameHeader + generationOffset))
    }
  } finally {
    closeSync(file)
  }
}

/** The journal goes on from this file, as far as anybody can tell. */
function goesOn(from: number, generations: readonly number[]): boolean {
  const [first] = generations
  return from === 0 || first === undefined || first === from + 1 || generations.includes(from)
}

/** Somebody has written another catalog into the file of one that is open. */
export class ForeignFile extends DamagedRecord {}

/** Of a catalog that is open: counts its generations, and knows its file again. For the one connection that writes to it. */
export class OwnGeneration {
  readonly #database: DatabaseSync
  readonly #path: string
  /** Of what was committed last. */
  #last: number
  #next: number | undefined
  #isDue = true
  /** All that was committed is in the file itself. */
  #isCheckpointed = false
  #seen: bigint | undefined

  constructor(database: DatabaseSync, path: string) {
    this.#database = database
    this.#path = path
    this.#last = Number(database.prepare('PRAGMA application_id').get()?.application_id)
    this.#seen = changedAt(path)
  }

  /** Throws DamagedRecord where the file is no database any more, ForeignFile where it is another one than was opened. */
  assertThere(): void {
    const now = changedAt(this.#path)
    if (now === this.#seen) return
    const found = generationOf(this.#path)
    if (found === undefined) throw new DamagedRecord('its file is no database any more')
    const committed = this.#isCheckpointed ? [] : generationsInJournal(this.#path)
    const isOwn = committed.length > 0 ? goesOn(found, committed) : found === this.#last
    if (!isOwn) throw new ForeignFile('another program has written to its file')
    // Touched, or brought up to date by somebody else.
    this.#seen = now
    this.#isDue = true
  }

  /** Counts where that is due; in the transaction of what is about to be committed. */
  count(): void {
    this.#next = this.#isDue ? (this.#last || randomInt(1, largestFirst)) + 1 : undefined
    if (this.#next !== undefined) this.#database.exec(`PRAGMA application_id = ${this.#next}`)
  }

  /** Something was committed: by that, or behind it, the journal may have been brought to the file. */
  committed(): void {
    if (this.#next !== undefined) {
      this.#last = this.#next
      this.#next = undefined
      this.#isDue = false
      this.#isCheckpointed = false
    }
    const now = changedAt(this.#path)
    if (now === this.#seen) return
    this.#seen = now
    this.#isDue = true
    this.#isCheckpointed = true
  }
}

/** Nanoseconds since the epoch at which anything of a file was changed: nobody can set that back. */
function changedAt(path: string): bigint | undefined {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ctimeNs
}

/**
 * Renames the journal beside the catalog at `path`, which nobody has open, where it does not go on from that: an older
 * catalog was put back, and together they are no catalog that there ever was. Returns its new name; undefined where it
 * belongs there.
 */
export function setForeignJournalAside(path: string): string | undefined {
  const generation = generationOf(path)
  if (generation === undefined || goesOn(generation, generationsInJournal(path))) return undefined
  const keptAs = `${path}-wal.replaced-${new Date().toISOString().replaceAll(':', '')}`
  rmSync(`${path}-shm`, { force: true })
  renameSync(`${path}-wal`, keptAs)
  return keptAs
}

function openIfThere(path: string): number | undefined {
  return existsSync(path) ? openSync(path, 'r') : undefined
}
