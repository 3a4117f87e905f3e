import type { Logger } from 'pino'
import type { Blobs, OpenedBlob } from '../content/blobs.ts'
import type { Source } from '../content/source.ts'
import { bestEffort } from '../flow/best-effort.ts'
import { SingleFlight } from '../flow/single-flight.ts'
import type { Freshness } from '../mirror/freshness.ts'
import { idOf, type MirroredRepository } from '../mirror/manifests.ts'
import type { Digest } from '../oci/digest.ts'
import type { BlobRecord, Catalog, RepositoryId } from '../storage/catalog.ts'
import { repositoryKey } from '../storage/repository-key.ts'
import { UpstreamError } from '../upstream/error.ts'

export interface RepositoryBlobsOptions {
  readonly catalog: Catalog
  readonly blobs: Blobs
  readonly freshness: Freshness
  readonly logger: Logger
}

/**
 * The blobs of one repository. Bytes are shared, permission is not (CVE-2024-39897): a repository reads what a
 * manifest of its own refers to, or what its own upstream confirms that it has.
 */
export class RepositoryBlobs {
  readonly #options: RepositoryBlobsOptions
  readonly #establishing = new SingleFlight<string, void>()
  readonly #asking = new SingleFlight<string, number | undefined>()

  constructor(options: RepositoryBlobsOptions) {
    this.#options = options
  }

  /**
   * Opens a blob for a client; the reader is to be closed by the caller. Throws UpstreamError NOT_FOUND where the
   * repository has no such blob, and the other ones where its upstream is needed and fails.
   */
  async open(repository: MirroredRepository, digest: Digest, signal?: AbortSignal): Promise<OpenedBlob> {
    const { catalog, blobs, freshness } = this.#options
    const id = idOf(repository)
    const record = await catalog.blob(id, digest)
    const source = sourceOf(repository, digest)
    if (record) return blobs.open(digest, source, { size: record.size, signal })
    await freshness.throwRemembered(id, digest)
    try {
      const opened = await blobs.open(digest, source, { signal })
      await this.#establishRight(repository, digest, opened)
      return opened
    } catch (error) {
      if (!isOfStorage(error)) await freshness.rememberRefusal(id, digest, error)
      throw error
    }
  }

  /**
   * What a HEAD tells of a blob, in bytes. Fetches nothing: a client that only asks must not cause a download.
   * Throws as `open` does.
   */
  async head(
    repository: MirroredRepository,
    digest: Digest,
  ): Promise<{ size: number | undefined; isStored: boolean }> {
    const { catalog, blobs, freshness } = this.#options
    const id = idOf(repository)
    const record = await catalog.blob(id, digest)
    const stored = (await blobs.stat(digest))?.size
    const size = stored ?? record?.size
    if (record && size !== undefined) return { size, isStored: stored !== undefined }
    await freshness.throwRemembered(id, digest, 'HEAD')
    const told = await this.#asking.run(`${id.upstream}/${id.name} ${digest}`, () =>
      this.#askSize(repository, digest, stored),
    )
    return { size: stored ?? told, isStored: stored !== undefined }
  }

  async #askSize(
    repository: MirroredRepository,
    digest: Digest,
    stored: number | undefined,
  ): Promise<number | undefined> {
    const id = idOf(repository)
    try {
      if (stored !== undefined) await assertHas(repository, digest)
      const told = stored ?? (await repository.upstream.blobSize(repository.name, digest))
      await this.#record(id, { digest, size: stored })
      return told
    } catch (error) {
      await this.#options.freshness.rememberRefusal(id, digest, error, 'HEAD')
      throw error
    }
  }

  /**
   * Where the repository's own upstream has sent bytes for this request, it has said yes; where they came by way of
   * another one, or an earlier process left them, it is asked. Once for all who wait for the same.
   */
  async #establishRight(
    repository: MirroredRepository,
    digest: Digest,
    { reader, confirmedBy }: OpenedBlob,
  ): Promise<void> {
    const { upstream, name } = repository
    try {
      await this.#establishing.run(`${upstream.name}/${name} ${digest}`, async () => {
        if (!confirmedBy.has(repositoryKey(upstream.name, name))) await assertHas(repository, digest)
        await this.#record(idOf(repository), { digest, size: reader.isVerified ? reader.size : undefined })
      })
    } catch (error) {
      await reader[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Where the disk takes no more writes the upstream is simply asked again the next time. */
  async #record(id: RepositoryId, blob: BlobRecord): Promise<void> {
    const { catalog, logger } = this.#options
    await bestEffort(catalog.saveBlob(id, blob), (error) =>
      logger.error({ err: error }, 'the catalog could not be written: answering all the same'),
    )
  }
}

function sourceOf({ upstream, name }: MirroredRepository, digest: Digest): Source {
  return {
    name: upstream.name,
    repository: repositoryKey(upstream.name, name),
    open: (position, query) => upstream.blob(name, digest, { position, ...query }),
  }
}

/** Throws UpstreamError NOT_FOUND where the upstream does not have the blob in this repository. */
async function assertHas({ upstream, name }: MirroredRepository, digest: Digest): Promise<void> {
  if (await upstream.hasBlob(name, digest)) return
  throw new UpstreamError('NOT_FOUND', upstream.name, 'it does not have this blob in this repository')
}

/** A registry that redirects has said yes; what storage refuses says nothing about the blob. */
function isOfStorage(error: unknown): boolean {
  return error instanceof UpstreamError && error.isElsewhere
}
