import type { Logger } from 'pino'
import type { DirectoryLock } from '../storage/files/directory-lock.ts'
import type { FileBlobStore } from '../storage/files/file-blob-store.ts'
import type { CatalogListeners } from '../storage/sqlite/current-file.ts'

/** What is said of the file of the catalog. */
export function catalogListeners(
  store: FileBlobStore,
  lock: DirectoryLock,
  logger: Logger,
): CatalogListeners {
  return {
    // Where somebody else has the folder by now, the catalog that lies there is theirs.
    beforePutBack: () => lock.renew(),
    onJournalLost: () =>
      logger.error(
        'catalog.db-wal was removed since this process was last killed: the last changes, also such as were acknowledged, are lost; if there is a copy of the whole data folder, stop and put it back',
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
    onMigrated: (fromSchema, ms) =>
      logger.info(
        { fromSchema, ms: Math.round(ms) },
        'the catalog was brought to the schema of this version: an older one cannot use it any more',
      ),
    onMade: () => {
      store.counted().then(({ blobs, bytes }) => {
        if (blobs === 0) return
        logger.warn(
          { blobs, bytes },
          'there is no catalog, and the blobs of one: what was pushed here and all tags are not known any more, what was mirrored is asked for again; if there is a copy of the whole data folder, stop and put it back',
        )
      })
    },
  }
}
