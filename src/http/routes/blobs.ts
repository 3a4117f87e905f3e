import type { FastifyReply } from 'fastify'
import type { Logger } from 'pino'
import type { CacheStatus } from '../../cache/manifests.ts'
import { matchesEntityTag, rangeStillApplies } from '../../oci/conditional.ts'
import type { Digest } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/error.ts'
import { type ByteRange, parseRange } from '../../oci/range.ts'
import type { RepositoryBlobs } from '../../registry/blobs.ts'
import type { BlobReader } from '../../storage/blob-reader.ts'
import type { BufferPool } from '../buffer-pool.ts'
import { clientSignal } from '../client-signal.ts'
import { sendBlob } from '../send-blob.ts'
import { type Answerer, cacheHeader, type Question, type TargetOf } from './question.ts'

export interface BlobRouteOptions {
  readonly blobs: RepositoryBlobs
  readonly pool: BufferPool
  readonly logger: Logger
}

type BlobQuestion = Question<TargetOf<'blob'>>

/** Blobs, whole or a range of them (distribution-spec end-2). */
export function blobRoute(options: BlobRouteOptions): Answerer<'blob'> {
  return (question) =>
    question.request.method === 'HEAD' ? answerHead(options, question) : answerGet(options, question)
}

async function answerHead({ blobs }: BlobRouteOptions, question: BlobQuestion): Promise<void> {
  const { reply, repository, target } = question
  const { size, isStored } = await blobs.head(repository, target.digest)
  describeBlob(reply, target.digest, isStored ? 'hit' : 'miss')
  if (size !== undefined) reply.header('content-length', size)
  reply.send(null)
}

async function answerGet(options: BlobRouteOptions, question: BlobQuestion): Promise<void> {
  const { request, reply, repository, target } = question
  const client = clientSignal(reply)
  const { reader, status } = await options.blobs.open(repository, target.digest, client)
  await using _ = reader
  const entityTag = describeBlob(reply, target.digest, status)
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
  await sendBody(options, reply, reader, { start, end }, client)
}

/** From here on an error can no longer be told: the connection is destroyed, so that no body looks complete. */
async function sendBody(
  { pool, logger }: BlobRouteOptions,
  reply: FastifyReply,
  reader: BlobReader,
  range: ByteRange,
  client: AbortSignal,
): Promise<void> {
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
