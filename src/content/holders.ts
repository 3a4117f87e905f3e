import type { Digest } from '../oci/digest.ts'
import { localOrigin, nameOf, type RepositoryKey } from '../storage/repository-key.ts'
import type { BlobRecords } from './blob-records.ts'

const repositoriesAtOnce = 100
/** As many as a line of the log names. */
const maximumTold = 10

/**
 * Names of repositories that a blob was pushed to, ten at most: nobody else has its bytes. A walk through all of them,
 * for the rare moment in which a blob is lost. None where the catalog cannot be read, which says so elsewhere.
 */
export async function holdersOfPushed(
  records: Pick<BlobRecords, 'blob' | 'repositories' | 'held'>,
  digest: Digest,
): Promise<string[]> {
  const holders: string[] = []
  try {
    if ((await records.blob(digest))?.kept === false) return holders
    let after: RepositoryKey | undefined
    do {
      const page = await records.repositories({ origin: localOrigin, after, limit: repositoriesAtOnce })
      for (const repository of page) {
        const holding = await records.held(repository, digest)
        if (holding?.localAt !== undefined) holders.push(nameOf(repository))
        if (holders.length === maximumTold) return holders
      }
      after = page.length < repositoriesAtOnce ? undefined : page.at(-1)
    } while (after !== undefined)
  } catch {
    // What is known until here is told.
  }
  return holders
}
