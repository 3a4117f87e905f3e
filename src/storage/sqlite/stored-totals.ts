import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { StoredTotal, Usage } from '../stored-bytes.ts'

/** A sum of sizes is exact up to 2^53, and no error beyond: hence REAL. */
const counting = `
  -- No file of its own: on a full disk there is no room for one.
  PRAGMA temp_store = MEMORY;
  CREATE TEMP TABLE stored_total (kept INTEGER PRIMARY KEY, blobs INTEGER NOT NULL, bytes REAL NOT NULL) STRICT;
  INSERT INTO stored_total VALUES (0, 0, 0), (1, 0, 0);
  INSERT INTO stored_total SELECT kept, count(*), total(size) FROM blob WHERE kept IN (0, 1) GROUP BY kept
    ON CONFLICT DO UPDATE SET blobs = excluded.blobs, bytes = excluded.bytes;
  CREATE TEMP TRIGGER blob_came AFTER INSERT ON main.blob BEGIN
    UPDATE stored_total SET blobs = blobs + 1, bytes = bytes + NEW.size WHERE kept = NEW.kept;
  END;
  CREATE TEMP TRIGGER blob_changed AFTER UPDATE OF size, kept ON main.blob BEGIN
    UPDATE stored_total SET blobs = blobs - 1, bytes = bytes - OLD.size WHERE kept = OLD.kept;
    UPDATE stored_total SET blobs = blobs + 1, bytes = bytes + NEW.size WHERE kept = NEW.kept;
  END;
  CREATE TEMP TRIGGER blob_went AFTER DELETE ON main.blob BEGIN
    UPDATE stored_total SET blobs = blobs - 1, bytes = bytes - OLD.size WHERE kept = OLD.kept;
  END;
`

/**
 * How much is stored, over the only connection that changes it: counted once, and from then on in the transactions that
 * change it, so that what is undone was not counted either. A total that is kept in the file could be wrong for ever.
 */
export class StoredTotals {
  readonly #read: StatementSync
  #told: Usage | undefined

  /** Walks through all rows of blobs. */
  constructor(database: DatabaseSync) {
    database.exec(counting)
    this.#read = database.prepare('SELECT blobs, bytes FROM temp.stored_total ORDER BY kept')
  }

  get usage(): Usage {
    const [cached, kept] = this.#read.all() as unknown as [StoredTotal, StoredTotal]
    return { cached: { ...cached }, kept: { ...kept } }
  }

  /** Undefined where it is what was told the last time. */
  get news(): Usage | undefined {
    const { usage } = this
    if (this.#told && isSame(usage.cached, this.#told.cached) && isSame(usage.kept, this.#told.kept)) {
      return undefined
    }
    this.#told = usage
    return usage
  }
}

function isSame(one: StoredTotal, other: StoredTotal): boolean {
  return one.blobs === other.blobs && one.bytes === other.bytes
}
