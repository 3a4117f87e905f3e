import type { Blobs } from '../content/blobs.ts'
import { bestEffort } from '../flow/best-effort.ts'
import type { BlobQuestions } from '../mirror/blob-questions.ts'
import type { Evidence } from '../mirror/evidence.ts'
import type { Manifests } from '../mirror/manifests.ts'
import type { UpstreamRepository } from '../mirror/upstream-repository.ts'
import type { Digest } from '../oci/digest.ts'
import type { DocumentReader } from '../oci/document-reader.ts'
import type { ParsedManifest } from '../oci/manifest.ts'
import { isNondistributable } from '../oci/media-type.ts'
import { isDigestReference, type Reference } from '../oci/reference.ts'
import type { Catalog } from '../storage/catalog.ts'
import { nameOf, originOf } from '../storage/repository-key.ts'
import type { Wish } from '../storage/wishes.ts'
import { UpstreamError } from '../upstream/error.ts'
import { BlobSource } from './blob-source.ts'
import type { ReadAhead } from './read-ahead.ts'
import type { Rights } from './rights.ts'
import type { Fulfilment } from './wanted.ts'

export interface WantedFetchesOptions {
  readonly upstreams: readonly UpstreamRepository['upstream'][]
  readonly blobs: Pick<Blobs, 'fetchAhead'>
  readonly catalog: Pick<Catalog, 'named'>
  readonly manifests: Pick<Manifests, 'get'>
  readonly rights: Pick<Rights, 'gives'>
  readonly evidence: Pick<Evidence, 'refusedSince'>
  readonly blobQuestions: Pick<BlobQuestions, 'failed' | 'sent'>
  readonly readAhead: Pick<ReadAhead, 'forNetwork'>
  readonly documents: Pick<DocumentReader, 'read'>
}

type Asked = Pick<Wish, 'platform'> & { readonly signal: AbortSignal }

const background = 'warming'
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm: 'arm/v7' }
/** As an index names it. */
const thisMachine = `linux/${architectures[process.arch] ?? process.arch}`

/** Fetches what is wanted by the same ways and with the same rights as for anybody, behind all that somebody waits for. */
export class WantedFetches {
  readonly #options: WantedFetchesOptions

  constructor(options: WantedFetchesOptions) {
    this.#options = options
  }

  /** A manifest with all that is needed to use it, or a blob. Rejects with the reason of `signal` alone. */
  async fetch(
    { repository: key, reference, kind, platform }: Wish,
    signal: AbortSignal,
  ): Promise<Fulfilment> {
    const upstream = this.#options.upstreams.find(({ name }) => name === originOf(key))
    if (!upstream) return { is: 'refused' }
    const repository = { key, name: nameOf(key), upstream }
    try {
      if (kind === 'manifest') await this.#manifest(repository, reference, { platform, signal })
      else await this.#blob(repository, reference as Digest, undefined, signal)
      return { is: 'had' }
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof UpstreamError && error.isRefusal) return { is: 'refused' }
      const { code, retryAfterSeconds } = error instanceof UpstreamError ? error : {}
      if (code === 'RESERVED') return { is: 'reserved' }
      const reason = error instanceof Error ? error.message : String(error)
      return { is: code === 'RATE_LIMITED' ? 'limited' : 'later', reason, retryAfterSeconds }
    }
  }

  async #manifest(repository: UpstreamRepository, reference: Reference, asked: Asked): Promise<void> {
    const { manifests, rights, evidence, readAhead, documents } = this.#options
    const { signal, platform } = asked
    const isGiven = isDigestReference(reference)
      ? (await rights.gives(repository.key, reference)) !== undefined
      : (await evidence.refusedSince(repository)) === undefined
    const { bytes, mediaType, status } = await manifests.get(repository, reference, {
      isGiven,
      background,
      signal,
    })
    if (status === 'stale') throw new Error('its upstream did not answer for the tag')
    const parsed: ParsedManifest = await documents.read('manifest', bytes, mediaType)
    const known = readAhead.forNetwork(parsed.manifests, platform)
    // Where no client has told yet for which machine it asks, this one is as good a guess as any.
    const chosen = known.length > 0 ? known : readAhead.forNetwork(parsed.manifests, thisMachine)
    for (const { digest } of chosen) {
      await this.#manifest(repository, digest, asked)
    }
    for (const { digest, size, mediaType } of parsed.blobs) {
      if (!isNondistributable(mediaType)) await this.#blob(repository, digest, size, signal)
    }
  }

  async #blob(
    repository: UpstreamRepository,
    digest: Digest,
    claim: number | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { blobs, blobQuestions, catalog } = this.#options
    let failure: unknown
    const source = new BlobSource(
      repository,
      digest,
      (error) => {
        failure = error
        return blobQuestions.failed(repository, digest, error)
      },
      () => void bestEffort(blobQuestions.sent(repository, digest), () => {}),
    )
    const size = claim ?? (await catalog.named(repository.key, digest))?.size
    // Where somebody else fetches it, that one is told of a failure, and wants it again.
    const outcome = await blobs.fetchAhead(digest, source, { size, background, signal })
    if (outcome === 'failed' || outcome === 'dropped') throw failure ?? new Error('it could not be kept')
  }
}
