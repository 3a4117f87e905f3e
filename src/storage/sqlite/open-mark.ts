import { closeSync, existsSync, fsyncSync, openSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'

/**
 * A file beside a catalog that says that its journal (`-wal`) may hold changes: a journal that was removed between two
 * runs leaves no other trace, and what was acknowledged last is missing without a word.
 */
export class OpenMark {
  readonly #path: string

  /** `path`: of the catalog. */
  constructor(path: string) {
    this.#path = `${path}.open`
  }

  /** Whether the last process that had it open was killed. */
  get isSet(): boolean {
    return existsSync(this.#path)
  }

  /** Before anything is acknowledged, and lasting as long as what is. */
  set(): void {
    for (const file of [openSync(this.#path, 'w'), openSync(dirname(this.#path), 'r')]) {
      fsyncSync(file)
      closeSync(file)
    }
  }

  /** Once the journal holds nothing any more; where that cannot be told, it stays. `database`: the last connection. */
  takeAway(database: DatabaseSync): void {
    const [row] = database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').all()
    if (row?.busy === 0) rmSync(this.#path, { force: true })
  }
}
