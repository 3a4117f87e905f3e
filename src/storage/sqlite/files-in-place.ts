import { statSync } from 'node:fs'
import { DamagedRecord } from './sqlite-errors.ts'

/** What the file system knows of a file. */
interface Seen {
  readonly dev: number
  readonly ino: number
  readonly size: number
}

/**
 * The files that a catalog was opened from, and whether they still lie under their names: SQLite goes on with files that
 * nobody will ever find again, and what is committed to them is gone with the process.
 */
export class FilesInPlace {
  readonly #path: string
  readonly #catalog: Seen | undefined
  readonly #journal: Seen | undefined
  #journalSize = 0

  /** `path`: of a catalog that is open and was asked something, so that its journal is there. */
  constructor(path: string) {
    this.#path = path
    this.#catalog = seen(path)
    this.#journal = seen(this.#journalPath)
  }

  /** Whether the catalog or its journal was removed, or something else has its name. */
  get areGone(): boolean {
    return !this.isCatalogThere || !isSame(this.#journal, seen(this.#journalPath))
  }

  /** Whether the catalog lies under its name; its journal may be gone. */
  get isCatalogThere(): boolean {
    return isSame(this.#catalog, seen(this.#path))
  }

  /** Throws DamagedRecord where they are gone, or the journal, which only grows, was cut short. */
  assertThere(): void {
    if (this.areGone) throw new DamagedRecord('its file is not in its place any more')
    if (this.#sizeOfJournal() < this.#journalSize) throw new DamagedRecord('its journal was cut short')
  }

  /** Something was committed. */
  committed(): void {
    this.#journalSize = this.#sizeOfJournal()
  }

  #sizeOfJournal(): number {
    return seen(this.#journalPath)?.size ?? 0
  }

  get #journalPath(): string {
    return `${this.#path}-wal`
  }
}

/** Undefined where there is none. Throws what the file system says where nobody can look. */
function seen(path: string): Seen | undefined {
  return statSync(path, { throwIfNoEntry: false })
}

function isSame(one: Seen | undefined, other: Seen | undefined): boolean {
  return one?.dev === other?.dev && one?.ino === other?.ino
}
