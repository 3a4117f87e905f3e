import { closeSync, existsSync, fsyncSync, openSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { StorageError } from '../error.ts'

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

  /** Before anything is acknowledged, and lasting as long as what is. A full disk is no obstacle: nothing is told then. */
  set(): void {
    try {
      syncFile(this.#path, 'w')
      syncFile(dirname(this.#path), 'r')
    } catch (error) {
      const failure = StorageError.from(error, '')
      if (!(failure instanceof StorageError && failure.code === 'FULL')) throw error
    }
  }

  /** Once the journal holds nothing any more; on a full disk it stays with the journal. `database`: the last connection. */
  takeAway(database: DatabaseSync): void {
    try {
      const [row] = database.prepare('PRAGMA wal_checkpoint(TRUNCATE)').all()
      if (row?.busy === 0) rmSync(this.#path, { force: true })
    } catch {
      // What the journal holds is found there by the next start.
    }
  }
}

function syncFile(path: string, flags: 'r' | 'w'): void {
  const file = openSync(path, flags)
  try {
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
