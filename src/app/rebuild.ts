import { existsSync } from 'node:fs'
import type { Logger } from 'pino'
import { Blobs } from '../content/blobs.ts'
import { Reconciliation } from '../content/reconciliation.ts'
import { Pieces } from '../flow/pieces.ts'
import { lockDirectory } from '../storage/files/directory-lock.ts'
import { FileBlobStore } from '../storage/files/file-blob-store.ts'
import { Reserve } from '../storage/reserve.ts'
import { type LostImage, lostImages } from '../storage/sqlite/lost-content.ts'
import { rebuild } from '../storage/sqlite/rebuild.ts'
import type { Usage } from '../storage/stored-bytes.ts'
import { besideCatalog, catalogPathIn, openCatalog } from './open-catalog.ts'

/** What became of a data folder. */
export interface RebuiltFolder {
  /** The catalog of before; undefined where there was none. */
  readonly keptAs: string | undefined
  /** Files of blobs that no record told of, and records whose files are not there. */
  readonly adopted: number
  readonly missing: number
  /** What is there now. */
  readonly blobs: Usage
  /** What was pushed and cannot be used: to be pushed again. */
  readonly lost: readonly LostImage[]
}

/**
 * Makes a new catalog for a data folder that no process uses, of all that can be told: what can be read of the old one, what
 * was pushed, and the files that are there. The old one is kept. Throws as `createApp` does; ENOENT where there is no
 * such folder.
 */
export async function rebuildFolder(directory: string, logger: Logger): Promise<RebuiltFolder> {
  if (!existsSync(directory)) {
    throw Object.assign(new Error(`${directory} does not exist`), { code: 'ENOENT' })
  }
  const path = catalogPathIn(directory)
  using lock = await lockDirectory(directory)
  const reserve = Reserve.in(directory)
  await using store = await FileBlobStore.open(directory, reserve)
  const options = { directory, store, lock, reserve, logger }
  const isThere = existsSync(path)
  // It may be one of an older version, or so damaged that it is set aside at once.
  await (await openCatalog(options))[Symbol.asyncDispose]()
  const keptAs = isThere ? await rebuild(path, besideNew(options), 'before-rebuild') : undefined
  const counts = await reconcile(options)
  return { keptAs, ...counts, lost: lostImages(path) }
}

/** A new catalog lacks everything at first: only what cannot be read of the journal is worth a line. */
function besideNew(options: Parameters<typeof openCatalog>[0]): ReturnType<typeof besideCatalog> {
  const { pushed, ...beside } = besideCatalog(options)
  if (!pushed) return beside
  const onFound: typeof pushed.onFound = (found) => {
    if (found.keptAs !== undefined || (found.replayed?.unreadable ?? 0) > 0) pushed.onFound?.(found)
  }
  return { ...beside, pushed: { ...pushed, onFound } }
}

async function reconcile(options: Parameters<typeof openCatalog>[0]) {
  const { store, logger } = options
  await using catalog = await openCatalog(options)
  await using blobs = new Blobs({
    pieces: new Pieces(),
    store,
    records: catalog,
    rate: undefined,
    retries: 0,
    patienceMs: 0,
    clientFills: 0,
    logger,
  })
  await using reconciliation = new Reconciliation({ store, catalog, blobs, logger, isInHurry: true })
  const { adopted, missing } = await reconciliation.run()
  return { adopted, missing, blobs: await catalog.usage() }
}
