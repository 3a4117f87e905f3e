import type { LimitFunction } from 'p-limit'
import type { BlobOrigin, Blobs, OpenedBlob } from '../cache/blobs.ts'
import type { Freshness } from '../cache/freshness.ts'
import { idOf, type MirroredRepository } from '../cache/manifests.ts'
import type { Digest } from '../oci/digest.ts'
import type { Catalog } from '../storage/catalog.ts'
import { UpstreamError } from '../upstream/error.ts'

export interface RepositoryBlobsOptions {
  readonly catalog: Catalog
  readonly blobs: Blobs
  readonly freshness: Freshness
  /** The limiter of an upstream's downloads, by its name. */
  readonly limits: ReadonlyMap<string, LimitFunction>
}

/**
 * The blobs of one repository. Bytes are shared, permission is not (CVE-2024-39897): a repository reads what a
 * manifest of its own refers to, or what its own upstream confirms that it has.
 */
export class RepositoryBlobs {
  readonly #options: RepositoryBlobsOptions

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
    if (record) return blobs.open(digest, this.#originOf(repository, digest, record.size), signal)
    await freshness.throwRemembered(id, digest)
    try {
      const opened = await blobs.open(digest, this.#originOf(repository, digest, undefined), signal)
      // Where this request did not bring the bytes, they came by way of another repository.
      if (opened.status !== 'miss') await this.#confirm(repository, digest, opened)
      await catalog.saveBlob(id, { digest, size: opened.reader.size })
      return opened
    } catch (error) {
      await freshness.rememberRefusal(id, digest, error)
      throw error
    }
  }

  async #confirm({ upstream, name }: MirroredRepository, digest: Digest, opened: OpenedBlob): Promise<void> {
    let isConfirmed = false
    try {
      isConfirmed = await upstream.hasBlob(name, digest)
    } finally {
      if (!isConfirmed) await opened.reader[Symbol.asyncDispose]()
    }
    if (isConfirmed) return
    throw new UpstreamError('NOT_FOUND', upstream.name, 'it does not have this blob in this repository')
  }

  #originOf({ upstream, name }: MirroredRepository, digest: Digest, size: number | undefined): BlobOrigin {
    const limit = this.#options.limits.get(upstream.name)
    if (!limit) throw new TypeError(`there is no limiter for ${upstream.name}`)
    return { size, limit, source: (options) => upstream.blob(name, digest, options) }
  }
}
