import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from 'pino'
import type { DirectoryLock } from '../storage/files/directory-lock.ts'
import type { FileBlobStore } from '../storage/files/file-blob-store.ts'
import type { Reserve } from '../storage/reserve.ts'
import type { CatalogListeners } from '../storage/sqlite/current-file.ts'
import type { FoundJournal } from '../storage/sqlite/pushed/open-both.ts'
import { SqliteCatalog } from '../storage/sqlite/sqlite-catalog.ts'
import type { CatalogBeside } from '../storage/sqlite/writer-thread.ts'

export interface CatalogOptions {
  /** The data folder. */
  readonly directory: string
  readonly store: FileBlobStore
  readonly lock: DirectoryLock
  readonly reserve: Reserve
  readonly logger: Logger
}

/** Opens the catalog of a data folder; what is found there is told in the log. Throws as `SqliteCatalog.open`. */
export function openCatalog(options: CatalogOptions): Promise<SqliteCatalog> {
  return SqliteCatalog.open(
    catalogPathIn(options.directory),
    catalogListeners(options),
    besideCatalog(options),
  )
}

/** The file of the catalog of a data folder. */
export function catalogPathIn(directory: string): string {
  return join(directory, 'catalog.db')
}

function journalPathIn(directory: string): string {
  return join(directory, 'pushed.journal')
}

function catalogListeners({ directory, store, lock, logger }: CatalogOptions): CatalogListeners {
  const isJournalThere = existsSync(journalPathIn(directory))
  return {
    // Where somebody else has the folder by now, the catalog that lies there is theirs.
    beforePutBack: () => lock.renew(),
    onJournalLost: () =>
      logger.error(
        'catalog.db-wal was removed since this process was last killed: the last changes, also such as were acknowledged, are lost but for what was pushed, which pushed.journal has; if there is a copy of the whole data folder, stop and put it back',
      ),
    onDamaged: (keptAs) =>
      logger.error(
        { keptAs },
        'the catalog is damaged: it was set aside, and what can be read of it is in a new one',
      ),
    onPutBack: (keptAs) =>
      logger.error(
        { keptAs },
        'catalog.db was removed or replaced while it was in use: it was put back with all that was in it; copy or change the data folder only while this process is stopped',
      ),
    onOverwritten: () =>
      logger.error(
        'another program has written an older catalog.db, or another one, over that which was in use: what was pushed since is put back from pushed.journal, and what was mirrored since is asked for again; copy or change the data folder only while this process is stopped',
      ),
    onForeignJournal: (keptAs) =>
      logger.error(
        { keptAs },
        'catalog.db-wal is of a newer catalog.db than the one that lies beside it: it was set aside, and what was pushed since is put back from pushed.journal',
      ),
    onMigrated: (fromSchema, ms) =>
      logger.info(
        { fromSchema, ms: Math.round(ms) },
        'the catalog was brought to the schema of this version: an older one cannot use it any more',
      ),
    onMade: () => {
      store.counted().then(({ blobs, bytes }) => {
        if (blobs === 0) return
        if (!isJournalThere)
          logger.error(
            { blobs, bytes },
            'there is neither a catalog nor a pushed.journal, and the blobs of one: what was pushed here is not known any more, and its blobs are taken for cache that may be evicted; if there is a copy of the whole data folder, stop now and put it back',
          )
        else
          logger.warn(
            { blobs, bytes },
            'there is no catalog, and the blobs of one: what was pushed here is known as far as pushed.journal has it, what was mirrored is asked for again; if there is a copy of the whole data folder, stop and put it back',
          )
      })
    },
  }
}

/** What belongs to it beside its file. */
export function besideCatalog({ directory, reserve, logger }: CatalogOptions): CatalogBeside {
  return {
    reserve,
    pushed: {
      path: journalPathIn(directory),
      onFound: (found) => tellFound(found, logger),
      onTrouble: (why) => {
        if (why === undefined) logger.info('pushed.journal is whole again')
        else logger.warn({ why }, 'pushed.journal lacks what is pushed now, which is in the catalog alone')
      },
    },
  }
}

function tellFound({ replayed, keptAs }: FoundJournal, logger: Logger): void {
  if (keptAs !== undefined)
    logger.warn({ keptAs }, 'pushed.journal is of another catalog: it was set aside, and a new one begun')
  if (!replayed) return
  const { changes, removed, unreadable } = replayed
  const counts = { changes, removed, unreadable }
  if (changes + removed + unreadable === 0) return
  if (unreadable === 0)
    logger.warn(counts, 'the catalog lacked what was pushed here: it has it from pushed.journal')
  else
    logger.error(
      counts,
      'the catalog lacked what was pushed here, and not all of pushed.journal can be read: push again what is missing',
    )
}
