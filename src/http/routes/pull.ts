import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import type { CacheStatus, Manifests, MirroredRepository, ServedManifest } from '../../cache/manifests.ts'
import type { TagLists } from '../../cache/tag-lists.ts'
import { matchesEntityTag, rangeStillApplies } from '../../oci/conditional.ts'
import type { Digest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/error.ts'
import { formatNextLink } from '../../oci/link.ts'
import { parseRange } from '../../oci/range.ts'
import type { Reference } from '../../oci/reference.ts'
import type { RepositoryBlobs } from '../../registry/blobs.ts'
import type { Visibility } from '../../registry/visibility.ts'
import type { BlobReader } from '../../storage/blob-reader.ts'
import type { RegistryClient } from '../../upstream/registry-client.ts'
import type { Router } from '../../upstream/router.ts'
import type { BufferPool } from '../buffer-pool.ts'
import { parseRegistryUrl, type RegistryUrl } from '../name-routing.ts'
import { sendBlob } from '../send-blob.ts'

export interface PullRoutesOptions {
  readonly router: Router<RegistryClient>
  readonly visibility: Visibility
  readonly manifests: Manifests
  readonly blobs: RepositoryBlobs
  readonly tagLists: TagLists
  readonly pool: BufferPool
  readonly logger: Logger
}

const cacheHeader = 'x-larder-cache'
const maximumPageSize = 10_000

/** The answers to GET and HEAD below `/v2/` (distribution-spec end-1, end-2, end-3, end-8). */
export class PullRoutes {
  readonly #options: PullRoutesOptions

  constructor(options: PullRoutesOptions) {
    this.#options = options
  }

  /** Answers one request. Rejects with RegistryError or UpstreamError before anything was sent. */
  async handle(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const url = parseRegistryUrl(request.raw.url ?? '')
    const { target } = url
    reply.header('docker-distribution-api-version', 'registry/2.0')
    reply.header('x-content-type-options', 'nosniff')
    switch (target.kind) {
      case 'base':
        reply.type('application/json; charset=utf-8').send('{}')
        return
      case 'unknown':
        throw new RegistryError('UNSUPPORTED', 'there is nothing at this path', { status: 404 })
      case 'manifest':
        return this.#manifest(
          request,
          reply,
          await this.#repository(url, target.name, reply),
          target.reference,
        )
      case 'blob':
        return this.#blob(request, reply, await this.#repository(url, target.name, reply), target.digest)
      case 'tags':
        return this.#tags(reply, url, target.name)
    }
  }

  async #repository(url: RegistryUrl, name: string, reply: FastifyReply): Promise<MirroredRepository> {
    const { upstream, name: repository } = this.#options.router.route(name, url.namespace)
    if (url.namespace !== undefined) reply.header('oci-namespace', url.namespace)
    const mirrored = { upstream, name: repository }
    await this.#options.visibility.assertPublic(mirrored)
    return mirrored
  }

  async #manifest(
    request: FastifyRequest,
    reply: FastifyReply,
    repository: MirroredRepository,
    reference: Reference,
  ): Promise<void> {
    const manifest = await this.#options.manifests.get(repository, reference)
    const entityTag = `"${manifest.digest}"`
    reply.header('docker-content-digest', manifest.digest).header('etag', entityTag)
    describeFreshness(reply, manifest)
    if (matchesEntityTag(request.headers['if-none-match'], entityTag)) {
      reply.code(304).send()
      return
    }
    reply.header('content-type', manifest.mediaType).header('content-length', manifest.bytes.length)
    // Also for HEAD, where Node drops the body: Fastify would add a charset to the type of an empty one.
    reply.send(asBuffer(manifest.bytes))
  }

  async #blob(
    request: FastifyRequest,
    reply: FastifyReply,
    repository: MirroredRepository,
    digest: Digest,
  ): Promise<void> {
    if (request.method === 'HEAD') return this.#blobHead(reply, repository, digest)
    const client = clientSignal(reply)
    const { reader, status } = await this.#options.blobs.open(repository, digest, client)
    await using _ = reader
    const entityTag = describeBlob(reply, digest, status)
    if (matchesEntityTag(request.headers['if-none-match'], entityTag)) {
      reply.code(304).send()
      return
    }
    const { range: header, 'if-range': condition } = request.headers
    const isCurrent = rangeStillApplies(typeof condition === 'string' ? condition : undefined, entityTag)
    const range = isCurrent ? parseRange(header, reader.size) : undefined
    if (range === 'unsatisfiable') {
      reply.header('content-range', `bytes */${reader.size}`)
      throw new RegistryError('SIZE_INVALID', `the blob has ${reader.size} bytes`, { status: 416 })
    }
    const { start, end } = range ?? { start: 0, end: reader.size }
    if (range) reply.code(206).header('content-range', `bytes ${start}-${end - 1}/${reader.size}`)
    reply.header('content-length', end - start)
    // Without a body there is no last byte to hold back: that the blob is empty is only a claim until then.
    if (start === end) await reader.verified({ signal: client })
    await this.#sendBody(reply, reader, { start, end }, client)
  }

  async #blobHead(reply: FastifyReply, repository: MirroredRepository, digest: Digest): Promise<void> {
    const { size, isStored } = await this.#options.blobs.head(repository, digest)
    describeBlob(reply, digest, isStored ? 'hit' : 'miss')
    if (size !== undefined) reply.header('content-length', size)
    reply.send(null)
  }

  /** From here on an error can no longer be told: the connection is destroyed, so that no body looks complete. */
  async #sendBody(
    reply: FastifyReply,
    reader: BlobReader,
    range: { start: number; end: number },
    client: AbortSignal,
  ): Promise<void> {
    const { pool, logger } = this.#options
    const { raw } = reply
    reply.hijack()
    raw.writeHead(reply.statusCode, reply.getHeaders() as Record<string, string>)
    // Bytes may be a while off; the client's patience ends sooner without headers than without a body.
    if (!reader.isVerified) raw.flushHeaders()
    try {
      await sendBlob(raw, reader, range, { pool, signal: client })
    } catch (error) {
      raw.destroy()
      // The fill tells the whole story, with the stack where there is one.
      const reason = error instanceof Error ? error.message : String(error)
      if (!client.aborted) logger.warn({ reason, url: reply.request.url }, 'a transfer was broken off')
    }
  }

  async #tags(reply: FastifyReply, url: RegistryUrl, name: string): Promise<void> {
    const repository = await this.#repository(url, name, reply)
    const n = parsePageSize(url.query.get('n'))
    const last = url.query.get('last') ?? undefined
    // The upstream's own answer tells whether the repository exists, also for an empty page.
    const page = { ...(n === undefined ? {} : { n }), ...(last === undefined ? {} : { last }) }
    const { tags, next, status } = await this.#options.tagLists.list(repository, page)
    if (next !== undefined && n !== 0) {
      const parameters = { ...(url.namespace === undefined ? {} : { ns: url.namespace }), last: next }
      const link = formatNextLink(`/v2/${name}/tags/list`, { n: String(n ?? tags.length), ...parameters })
      reply.header('link', link)
    }
    reply.header(cacheHeader, status).type('application/json; charset=utf-8')
    reply.send(JSON.stringify({ name, tags: n === 0 ? [] : tags }))
  }
}

/** Sets the headers that are the same for all answers about a blob; returns its entity tag. */
function describeBlob(reply: FastifyReply, digest: Digest, status: CacheStatus): string {
  const entityTag = `"${digest}"`
  reply
    .header('docker-content-digest', digest)
    .header('etag', entityTag)
    .header('accept-ranges', 'bytes')
    .header('content-type', 'application/octet-stream')
    .header('cache-control', 'max-age=31536000, immutable')
    .header(cacheHeader, status)
  return entityTag
}

/** Tells the client how old the copy is; RFC 9111 5.1, 5.5 and distribution-spec "Warnings". */
function describeFreshness(reply: FastifyReply, { status, checkedAt }: ServedManifest): void {
  reply.header(cacheHeader, status satisfies CacheStatus)
  if (checkedAt === undefined) return
  reply.header('age', Math.max(0, Math.round((Date.now() - checkedAt) / 1000)))
  if (status !== 'stale') return
  const since = new Date(checkedAt).toISOString()
  reply.header('warning', `299 - "the upstream does not answer; this tag was last checked at ${since}"`)
}

/** `n` of a paged list (end-8b). Throws RegistryError PAGINATION_NUMBER_INVALID (400). */
function parsePageSize(text: string | null): number | undefined {
  if (text === null) return undefined
  const n = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (n <= maximumPageSize) return n
  throw new RegistryError('PAGINATION_NUMBER_INVALID', `n must be a number from 0 to ${maximumPageSize}`)
}

/**
 * Aborts when the client is gone before the answer ended. It listens to the socket too: an answer that waits behind
 * another one on the same connection (pipelining) is not told.
 */
function clientSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  const { raw } = reply
  const { socket } = reply.request.raw
  const onClose = (): void => {
    if (!raw.writableFinished) gone.abort(new Error('the client has left'))
  }
  socket.once('close', onClose)
  raw.once('close', () => {
    socket.off('close', onClose)
    onClose()
  })
  return gone.signal
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
