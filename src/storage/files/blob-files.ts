import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, digestAlgorithm, digestHex, isDigest } from '../../oci/digest.ts'
import type { CheckedBlob, CheckOptions } from '../blob-store.ts'
import { asStorageError, StorageError } from '../error.ts'
import type { SealedFile } from '../partial.ts'
import { absentIfMissing } from './file-errors.ts'
import type { HashingThread } from './hashing-thread.ts'
import { sealedFile } from './sealed-file.ts'
import { deniedIfNotAllowed } from './stored-file.ts'

/** The folder of a blob below `blobs/`: `<algorithm>/<first two hex digits>`. */
export function folderOf(digest: Digest): string {
  return join(digestAlgorithm(digest), digestHex(digest).slice(0, 2))
}

/** Where the file of a blob is in a data folder. */
export function blobPath(directory: string, digest: Digest): string {
  return join(directory, 'blobs', folderOf(digest), digestHex(digest))
}

/** What a blob's file says of itself; undefined where there is no plain file. Throws StorageError. */
export async function statBlob(directory: string, digest: Digest): Promise<SealedFile | undefined> {
  const looking = absentIfMissing(lstat(blobPath(directory, digest), { bigint: true }))
  const stats = await asStorageError(`${digest} could not be looked at`, looking)
  return stats?.isFile() ? sealedFile(stats) : undefined
}

/** As `BlobStore.check`. Changes nothing. */
export async function checkBlob(
  directory: string,
  digest: Digest,
  hashing: HashingThread,
  { isGentle = false, isServed = false, signal }: CheckOptions = {},
): Promise<CheckedBlob | undefined> {
  const file = await statBlob(directory, digest)
  if (!file) return undefined
  const request = {
    path: blobPath(directory, digest),
    algorithm: digestAlgorithm(digest),
    isGentle,
    isServed,
  }
  const hashed = hashing.hash(request, signal).catch(async (error: unknown) => {
    throw await deniedIfNotAllowed(error, request.path, digest)
  })
  const checking = asStorageError(`${digest} could not be read`, hashed)
  return checking.catch(async (error: unknown) => {
    if (!(error instanceof StorageError) || error.code === 'BUSY' || error.code === 'DENIED') throw error
    return (await statBlob(directory, digest)) && { file, actual: undefined }
  })
}

export interface ListOptions {
  readonly after?: Digest | undefined
  readonly limit: number
  /** A folder could not be read, and what is in it is left out. */
  readonly onUnreadable?: (folder: string, error: StorageError) => void
}

/** As `BlobStore.list`. Throws StorageError where descriptors or memory are short. */
export async function listBlobs(
  directory: string,
  { after, limit, onUnreadable }: ListOptions,
): Promise<Digest[]> {
  const entriesOf = (folder: string, kind: EntryKind): Promise<string[]> =>
    asStorageError(`${folder} could not be read`, readEntries(folder, kind)).catch((error: unknown) => {
      if (!(error instanceof StorageError) || error.code === 'BUSY') throw error
      onUnreadable?.(folder, error)
      return []
    })
  const found: Digest[] = []
  for (const algorithm of ['sha256', 'sha512'] as const) {
    const folder = join(directory, 'blobs', algorithm)
    for (const prefix of await entriesOf(folder, 'isDirectory')) {
      if (after !== undefined && join(algorithm, prefix) < folderOf(after)) continue
      for (const name of await entriesOf(join(folder, prefix), 'isFile')) {
        const digest = `${algorithm}:${name}`
        if (!isDigest(digest) || !name.startsWith(prefix)) continue
        if (after !== undefined && digest <= after) continue
        if (found.length >= limit) return found
        found.push(digest)
      }
    }
  }
  return found
}

type EntryKind = 'isDirectory' | 'isFile'

/** The names in a folder, in order; none where it is missing. */
async function readEntries(folder: string, kind: EntryKind): Promise<string[]> {
  const entries = (await absentIfMissing(readdir(folder, { withFileTypes: true }))) ?? []
  return entries
    .filter((entry) => entry[kind]())
    .map(({ name }) => name)
    .toSorted()
}
