import { delay } from '../flow/abortable.ts'
import { type Digest, isDigest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { maximumManifestBytes, parseTagList } from '../oci/manifest.ts'
import { manifestAccept, manifestMediaTypes } from '../oci/media-type.ts'
import { parseContentRange } from '../oci/range.ts'
import type { Reference, Tag } from '../oci/reference.ts'
import { parseReferrers } from '../oci/referrers.ts'
import type { RepositoryName } from '../oci/repository-name.ts'
import { UpstreamError } from './error.ts'
import { nextPage } from './next-page.ts'
import type { RateLimit } from './rate-limit.ts'
import { type FoundReferrers, readReferrerPages } from './referrer-pages.ts'
import {
  RegistryConnection,
  type RegistryConnectionOptions,
  type RegistryQuery,
} from './registry-connection.ts'
import { Shortcuts } from './shortcuts.ts'
import { readBody, type TransportResponse } from './transport.ts'

/** A manifest as the upstream sent it; nobody has verified it yet. */
export interface FetchedManifest {
  readonly bytes: Buffer
  readonly contentType: string | undefined
  /** Docker-Content-Digest, if it is a digest at all. */
  readonly claimedDigest: Digest | undefined
}

/** A part of a blob on its way. */
export interface FetchedBlob {
  /** The position of the first byte of `body`. It may differ from the one that was asked for: 0 after a 200. */
  readonly start: number
  /** Bytes of the whole blob, where the upstream tells. */
  readonly size: number | undefined
  body(): AsyncGenerator<Buffer, void, undefined>
  /** Ends the connection; `body` ends after what has arrived. */
  stop(): void
  /** Lets go of an answer whose body nobody reads. */
  discard(): void
}

/** Which part of a blob is wanted. */
export interface BlobQuery {
  /** The position of the first byte. */
  readonly position: number
  readonly signal: AbortSignal
  /** Waits until so many bytes may come; more are not asked for before. */
  readonly pace?: ((bytes: number) => Promise<void>) | undefined
}

export interface TagPage {
  readonly tags: readonly Tag[]
  /** The query of the next page, as the upstream wrote it; undefined where this is the last one. */
  readonly next: string | undefined
}

/** An answer with its body. */
interface SmallAnswer {
  readonly response: TransportResponse
  readonly bytes: Buffer
}

/** Milliseconds before each further try of a small request that failed on the other side. */
const retryDelays = [200, 1000]
const notImplemented = 501
const notModified = 304

/**
 * Asks one upstream registry (distribution-spec "Pull", "Listing Tags"). Every method throws UpstreamError; the
 * answers are verified by whoever keeps them.
 */
export class RegistryClient implements AsyncDisposable {
  /** Such as docker.io. */
  readonly name: string
  /** Which questions are no use here. */
  readonly shortcuts = new Shortcuts()
  readonly #url: URL
  readonly #connection: RegistryConnection
  #blobBytes = 0

  constructor(options: RegistryConnectionOptions) {
    this.name = options.name
    this.#url = options.url
    this.#connection = new RegistryConnection(options)
  }

  /** The quota that the upstream last told of, if it tells. */
  get rateLimit(): RateLimit | undefined {
    return this.#connection.rateLimit
  }

  /** Whether it answered when it was last needed. */
  get isReachable(): boolean {
    return this.#connection.isReachable
  }

  /** What happened so far: answers by `METHOD kind status`, tokens, and bytes of blobs that crossed the line. */
  get counters(): { requests: ReadonlyMap<string, number>; tokens: number; blobBytes: number } {
    const { requests, tokensFetched: tokens } = this.#connection
    return { requests, tokens, blobBytes: this.#blobBytes }
  }

  /** Finds out whether the upstream answers; the result is in `isReachable`. Never throws. */
  async checkReachable(): Promise<void> {
    await this.#connection.checkReachable()
  }

  /** GET of a manifest (end-3). At most 4 MiB are read. */
  async manifest(repository: RepositoryName, reference: Reference): Promise<FetchedManifest> {
    return fetchedManifest(await this.#getSmall({ repository, ...manifestQuery(reference) }, true))
  }

  /**
   * GET of a manifest unless it is `known` (RFC 9110 13.1.2); undefined where the upstream says that it is. Tried
   * once: there is a copy to go on with.
   */
  async changedManifest(
    repository: RepositoryName,
    reference: Reference,
    known: Digest,
  ): Promise<FetchedManifest | undefined> {
    const { path, headers } = manifestQuery(reference)
    const query = { repository, path, headers: { ...headers, 'if-none-match': `"${known}"` } }
    try {
      return fetchedManifest(await this.#getSmall(query, true, []))
    } catch (error) {
      if (error instanceof UpstreamError && error.status === notModified) return undefined
      throw error
    }
  }

  /** HEAD of a manifest (end-3), free of Docker Hub's quota; undefined where the answer tells no digest. */
  async manifestDigest(repository: RepositoryName, reference: Reference): Promise<Digest | undefined> {
    const response = await this.#connection.request('HEAD', { repository, ...manifestQuery(reference) })
    response.discard()
    return claimedDigest(response)
  }

  /**
   * GET of a blob from `position` on (end-2), with a fresh redirect each time: signed URLs expire. Tried once;
   * the fill that needs it knows when to try again.
   */
  async blob(repository: RepositoryName, digest: Digest, options: BlobQuery): Promise<FetchedBlob> {
    const { position, signal, pace } = options
    const headers: Record<string, string> = position > 0 ? { range: `bytes=${position}-` } : {}
    const query = { repository, path: `blobs/${digest}`, headers, signal, pace }
    const response = await this.#connection.request('GET', query)
    const range = parseContentRange(headerOf(response, 'content-range'))
    if (response.status === 206 && !range) {
      response.discard()
      throw new UpstreamError('INVALID_RESPONSE', this.name, 'it sent a part of a blob without telling which')
    }
    return {
      start: response.status === 206 ? (range?.start ?? 0) : 0,
      size: response.status === 206 ? range?.size : contentLength(response),
      body: () => this.#counted(response),
      stop: () => response.stop(),
      discard: () => response.discard(),
    }
  }

  /** Whether the repository has the blob (end-2, HEAD). A redirect to its bytes says so. */
  async hasBlob(repository: RepositoryName, digest: Digest): Promise<boolean> {
    try {
      const query = { repository, path: `blobs/${digest}`, keepRedirect: true }
      const response = await this.#connection.request('HEAD', query)
      response.discard()
      return true
    } catch (error) {
      if (error instanceof UpstreamError && error.code === 'NOT_FOUND') return false
      throw error
    }
  }

  /** The size of a blob in bytes (end-2, HEAD); undefined where the upstream does not tell. */
  async blobSize(repository: RepositoryName, digest: Digest): Promise<number | undefined> {
    const response = await this.#connection.request('HEAD', { repository, path: `blobs/${digest}` })
    response.discard()
    return contentLength(response)
  }

  /** A page of the repository's tags (end-8). `query` as the client or the page before has it, without "?". */
  async tags(repository: RepositoryName, query: string): Promise<TagPage> {
    const path = `tags/list${query === '' ? '' : `?${query}`}`
    const { response, bytes } = await this.#getSmall({ repository, path }, false)
    const next = nextPage(response, { upstream: this.name, base: this.#url, path: '/tags/list', query })
    return { ...this.#parsed(() => parseTagList(bytes)), next }
  }

  /**
   * The manifests that refer to `subject`, page by page (end-12), without a filter. Throws UpstreamError also where
   * the upstream knows no such question.
   */
  async referrers(repository: RepositoryName, subject: Digest): Promise<FoundReferrers> {
    const headers = { accept: manifestMediaTypes.ociIndex }
    return readReferrerPages(this.name, async (query) => {
      const path = `referrers/${subject}${query === '' ? '' : `?${query}`}`
      const { response, bytes } = await this.#getSmall({ repository, path, headers }, false)
      const referrers = this.#parsed(() => parseReferrers(bytes))
      const page = { upstream: this.name, base: this.#url, path: `/referrers/${subject}`, query }
      return { referrers, bytes: bytes.length, next: () => nextPage(response, page) }
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection[Symbol.asyncDispose]()
  }

  /** A GET of something small, with its body, tried again where the other side or the line failed. */
  async #getSmall(
    query: RegistryQuery,
    countsAsPull: boolean,
    delaysMs: readonly number[] = retryDelays,
  ): Promise<SmallAnswer> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const response = await this.#connection.request('GET', query, countsAsPull)
        return { response, bytes: await readBody(response, this.name, maximumManifestBytes) }
      } catch (error) {
        const waitMs = delaysMs[attempt]
        const isPassing =
          error instanceof UpstreamError &&
          /^(?:SERVER_ERROR|UNREACHABLE)$/.test(error.code) &&
          error.status !== notImplemented
        if (!isPassing || waitMs === undefined || !this.isReachable) throw error
        await delay(waitMs)
      }
    }
  }

  /** What a parser makes of an answer. Throws UpstreamError INVALID_RESPONSE where it refuses it. */
  #parsed<Value>(parse: () => Value): Value {
    try {
      return parse()
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error
      throw new UpstreamError('INVALID_RESPONSE', this.name, error.message, { cause: error })
    }
  }

  async *#counted(response: TransportResponse): AsyncGenerator<Buffer, void, undefined> {
    for await (const chunk of response.body()) {
      this.#blobBytes += chunk.length
      yield chunk
    }
  }
}

function manifestQuery(reference: Reference): Pick<RegistryQuery, 'path' | 'headers'> {
  return { path: `manifests/${reference}`, headers: { accept: manifestAccept.join(', ') } }
}

function fetchedManifest({ response, bytes }: SmallAnswer): FetchedManifest {
  return { bytes, contentType: response.headers['content-type'], claimedDigest: claimedDigest(response) }
}

function claimedDigest(response: TransportResponse): Digest | undefined {
  const claimed = headerOf(response, 'docker-content-digest')
  return claimed !== undefined && isDigest(claimed) ? claimed : undefined
}

function contentLength(response: TransportResponse): number | undefined {
  const length = headerOf(response, 'content-length')
  return length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined
}

function headerOf(response: TransportResponse, name: string): string | undefined {
  const value = response.headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}
