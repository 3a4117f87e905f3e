import type { LRUCache } from 'lru-cache'
import { lruCache } from '../flow/lru-cache.ts'
import type { Digest } from '../oci/digest.ts'
import type { DocumentReader } from '../oci/document-reader.ts'
import { isNondistributable } from '../oci/media-type.ts'
import type { ManifestRecord } from '../storage/catalog.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'

export interface LostBytesOptions {
  readonly blobs: {
    /** Undefined where the bytes are not as they were pushed. */
    stat(
      digest: Digest,
      options: { readonly signal?: AbortSignal | undefined },
    ): Promise<{ readonly size: number } | undefined>
  }
  readonly documents: DocumentReader
  /** Milliseconds for which what was found whole is not looked at again. */
  readonly wholeMs?: number
}

/** The repository of a manifest. */
export interface Around {
  readonly repository: RepositoryKey
  /** A manifest that was pushed to it, and is here. */
  readonly find: (digest: Digest) => Promise<ManifestRecord | undefined>
  readonly signal?: AbortSignal | undefined
}

/** Of the manifests that were whole a moment ago; each takes about 300 bytes. */
const maximumWhole = 10_000
const defaultWholeMs = 10_000
/** Blobs that are looked at together. */
const atOnce = 16

/**
 * Whether all that pushed manifests need is here. Nothing here takes away what a manifest needs: what is lost was removed
 * or cut by somebody else, or by the disk. Looking is a question to the file system a layer, and clients ask before each
 * pull and each push; so what was whole is believed for some seconds.
 */
export class LostBytes {
  readonly #options: LostBytesOptions
  readonly #whole: LRUCache<string, true> | undefined

  constructor(options: LostBytesOptions) {
    this.#options = options
    const { wholeMs: ttl = defaultWholeMs } = options
    this.#whole = ttl > 0 ? lruCache(maximumWhole, { ttl }) : undefined
  }

  /**
   * The first thing that a pushed manifest needs and that is not here any more, in it or in the manifests of an index;
   * undefined where all is well. Layers that only their vendor hands out need not be here.
   */
  async of(manifest: ManifestRecord, around: Around): Promise<Digest | undefined> {
    const key = `${around.repository} ${manifest.digest}`
    if (this.#whole?.get(key)) return undefined
    const lost = await this.#look(manifest, around, new Set())
    if (lost === undefined) this.#whole?.set(key, true)
    return lost
  }

  /** Bytes were found to be lost: what was whole before may not be. */
  lookAgain(): void {
    this.#whole?.clear()
  }

  async #look(manifest: ManifestRecord, around: Around, seen: Set<Digest>): Promise<Digest | undefined> {
    seen.add(manifest.digest)
    const { blobs, manifests } = await this.#options.documents.read(
      'manifest',
      manifest.bytes,
      manifest.mediaType,
    )
    const wanted = blobs.flatMap(({ digest, mediaType }) =>
      seen.has(digest) || isNondistributable(mediaType) ? [] : [digest],
    )
    for (let at = 0; at < wanted.length; at += atOnce) {
      const some = wanted.slice(at, at + atOnce)
      const found = await Promise.all(some.map((digest) => this.#options.blobs.stat(digest, around)))
      const lost = some[found.indexOf(undefined)]
      if (lost !== undefined) return lost
      for (const digest of some) seen.add(digest)
    }
    for (const { digest } of manifests) {
      if (seen.has(digest)) continue
      const record = await around.find(digest)
      const lost = record ? await this.#look(record, around, seen) : digest
      if (lost !== undefined) return lost
    }
    return undefined
  }
}
