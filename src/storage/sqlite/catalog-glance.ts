import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import type { Digest } from '../../oci/digest.ts'
import type { PageOf } from '../page-of.ts'
import { lostDigests } from './lost-content.ts'
import { sqliteReads } from './reads.ts'
import { sqliteBusy, sqliteCode } from './sqlite-errors.ts'
import { Statements } from './statements.ts'

/** What a catalog says, looked up beside whoever uses it; nothing of it is changed. Dispose to close it. */
export class CatalogGlance implements Disposable {
  readonly #database: DatabaseSync
  readonly #statements: Statements

  private constructor(database: DatabaseSync) {
    this.#database = database
    this.#statements = new Statements(database)
  }

  /** Undefined where there is none. Throws SQLite's own error where it cannot be opened. */
  static open(path: string): CatalogGlance | undefined {
    if (!existsSync(path)) return undefined
    return new CatalogGlance(new DatabaseSync(path, { readOnly: true, timeout: 5000 }))
  }

  /** See `CatalogReads`. Each throws SQLite's own error where the catalog is damaged, or of another version. */
  blobs(page: PageOf<Digest>) {
    return sqliteReads.blobs(this.#statements, page)
  }

  blob(digest: Digest) {
    return sqliteReads.blob(this.#statements, digest)
  }

  localHolders(digest: Digest, limit: number) {
    return sqliteReads.localHolders(this.#statements, digest, limit)
  }

  /** What was pushed, and whose bytes are lost by what is recorded: whoever found that has dropped the record of them. */
  lost(): Digest[] {
    return lostDigests(this.#database)
  }

  [Symbol.dispose](): void {
    this.#database.close()
  }
}

/** Whether a catalog could not be read since somebody has it to himself. */
export function isInUse(error: unknown): boolean {
  return sqliteCode(error) === sqliteBusy
}
