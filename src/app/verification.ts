import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, digestOf } from '../oci/digest.ts'
import type { StoredTotal } from '../storage/blob-store.ts'
import { StorageError } from '../storage/error.ts'
import { checkBlob, listBlobs, statBlob } from '../storage/files/blob-files.ts'
import { FileQuarantine } from '../storage/files/file-quarantine.ts'
import { HashingThread } from '../storage/files/hashing-thread.ts'
import type { SealedFile } from '../storage/partial.ts'
import { nameOf } from '../storage/repository-key.ts'
import { CatalogGlance, isInUse } from '../storage/sqlite/catalog-glance.ts'

export interface VerificationOptions {
  /** Of the blobs, which are read whole: from 0 to 1. All are looked at. */
  readonly share?: number | undefined
  /** The same one chooses the same blobs. */
  readonly seed?: string | undefined
  readonly onProgress?: (verified: Verified) => void
  readonly signal?: AbortSignal | undefined
}

/** A blob that is not what it has to be, and the repositories that it was pushed to, ten at most. */
export interface DamagedBlob {
  readonly digest: Digest
  readonly found: 'wrong' | 'unreadable' | 'missing'
  readonly repositories: readonly string[]
}

export interface Verified {
  /** That were looked at, and of these those that were read whole. */
  readonly blobs: number
  readonly read: number
  /** Of those that were read whole. */
  readonly bytes: number
  readonly damaged: readonly DamagedBlob[]
  /** Folders of blobs that could not be read. */
  readonly unreadable: readonly string[]
  /** Damaged files that are out of the way already; whatever they were is `missing` where it was pushed. */
  readonly quarantined: StoredTotal
  /** Why the catalog could not be read: nothing of what it says was compared. */
  readonly catalogFailure?: string
  /** A mirror runs and has the catalog to itself (docs/decisions/0046): the same, and no fault. */
  readonly isCatalogInUse: boolean
}

const pageSize = 1000
/** As many as are named. */
const maximumHolders = 10

/**
 * Compares the blobs of a data folder with their digests and with what is recorded of them, and changes nothing: also beside
 * a running mirror. Throws StorageError, ENOENT where there is no such folder, and the reason of `signal`.
 */
export async function verifyFolder(directory: string, options: VerificationOptions = {}): Promise<Verified> {
  const { share = 1, seed = '', onProgress, signal } = options
  await access(directory)
  using catalog = new Records(join(directory, 'catalog.db'))
  await using hashing = new HashingThread()
  const damaged: DamagedBlob[] = []
  const unreadable = new Set<string>()
  const quarantined = (await FileQuarantine.open(join(directory, 'quarantine'), leave)).total
  const counts = { blobs: 0, read: 0, bytes: 0 }
  const add = async (digest: Digest, found: DamagedBlob['found']): Promise<void> => {
    const holders = catalog.ask((glance) => glance.localHolders(digest, maximumHolders)) ?? []
    damaged.push({ digest, found, repositories: holders.map(nameOf) })
  }
  const rowOf = (digest: Digest) => catalog.ask((glance) => glance.blob(digest))
  const onUnreadable = (folder: string): void => void unreadable.add(folder)
  const files = pages((after) => listBlobs(directory, { after, limit: pageSize, onUnreadable }))
  for await (const digest of files) {
    signal?.throwIfAborted()
    const [row, file] = [rowOf(digest), await lookAt(directory, digest)]
    // It was removed since it was listed.
    if (!file) continue
    if (file === 'unreadable') {
      counts.blobs += 1
      await add(digest, file)
      continue
    }
    counts.blobs += 1
    if (row && row.size !== file.size) {
      if (await isStill(directory, digest, file.inode)) await add(digest, 'wrong')
    } else if (isChosen(digest, share, seed)) {
      const checked = await checkBlob(directory, digest, hashing, { signal }).catch((error: unknown) => {
        if (error instanceof StorageError && error.code === 'DENIED') return { file, actual: undefined }
        throw error
      })
      if (!checked) continue
      counts.read += 1
      counts.bytes += checked.file.size
      const { actual } = checked
      if (actual !== digest && (await isStill(directory, digest, checked.file.inode)))
        await add(digest, actual === undefined ? 'unreadable' : 'wrong')
    }
    const { isInUse: isCatalogInUse } = catalog
    onProgress?.({ ...counts, damaged, unreadable: [...unreadable], quarantined, isCatalogInUse })
  }
  const rows = pages(async (after) => {
    const page = catalog.ask((glance) => glance.blobs({ after, limit: pageSize }))
    return page?.map(({ digest }) => digest) ?? []
  })
  for await (const digest of rows) {
    signal?.throwIfAborted()
    if (typeof (await lookAt(directory, digest)) === 'object') continue
    // Whoever removes a blob takes its record away first.
    if (!rowOf(digest)) continue
    const found = await lookAt(directory, digest)
    if (typeof found === 'object') continue
    counts.blobs += 1
    await add(digest, found ?? 'missing')
  }
  // Whoever has found it before, the scrub or a pull, has dropped its record.
  const told = new Set(damaged.map(({ digest }) => digest))
  for (const digest of catalog.ask((glance) => glance.lost()) ?? []) {
    signal?.throwIfAborted()
    if (told.has(digest)) continue
    const found = await lookAt(directory, digest)
    if (typeof found === 'object') continue
    counts.blobs += 1
    await add(digest, found ?? 'missing')
  }
  const { failure, isInUse } = catalog
  return {
    ...counts,
    damaged,
    unreadable: [...unreadable],
    quarantined,
    isCatalogInUse: isInUse,
    ...(failure === undefined ? {} : { catalogFailure: failure }),
  }
}

/** Nothing is put aside here. */
const leave = async (): Promise<undefined> => undefined

/** A catalog, until it fails: the files can be compared with their digests without it. */
class Records implements Disposable {
  #glance: CatalogGlance | undefined
  #failure: string | undefined
  #isInUse = false

  constructor(path: string) {
    this.#try(() => {
      this.#glance = CatalogGlance.open(path)
    })
  }

  get failure(): string | undefined {
    return this.#failure
  }

  /** Whether another process lets nobody read it. */
  get isInUse(): boolean {
    return this.#isInUse
  }

  ask<Answer>(question: (glance: CatalogGlance) => Answer): Answer | undefined {
    const glance = this.#glance
    return glance && this.#try(() => question(glance))
  }

  [Symbol.dispose](): void {
    this.#glance?.[Symbol.dispose]()
  }

  #try<Answer>(work: () => Answer): Answer | undefined {
    try {
      return work()
    } catch (error) {
      if (isInUse(error)) this.#isInUse = true
      else this.#failure = error instanceof Error ? error.message : String(error)
      this[Symbol.dispose]()
      this.#glance = undefined
      return undefined
    }
  }
}

/** As `statBlob`; unreadable where the disk or its rights do not let anybody look. */
function lookAt(directory: string, digest: Digest): Promise<SealedFile | 'unreadable' | undefined> {
  return statBlob(directory, digest).catch((error: unknown) => {
    if (error instanceof StorageError && error.code === 'BROKEN') return 'unreadable'
    throw error
  })
}

/** Whether a file is the one that was looked at: a mirror that runs beside may have mended it. */
async function isStill(directory: string, digest: Digest, inode: number): Promise<boolean> {
  const found = await lookAt(directory, digest)
  return typeof found === 'object' && found.inode === inode
}

/** By chance, and the same for the same seed. */
function isChosen(digest: Digest, share: number, seed: string): boolean {
  if (share >= 1) return true
  return Number.parseInt(digestOf(Buffer.from(`${seed} ${digest}`)).slice(7, 15), 16) / 2 ** 32 < share
}

async function* pages(read: (after: Digest | undefined) => Promise<Digest[]>): AsyncGenerator<Digest> {
  let after: Digest | undefined
  do {
    const page = await read(after)
    yield* page
    after = page.at(-1)
  } while (after !== undefined)
}
