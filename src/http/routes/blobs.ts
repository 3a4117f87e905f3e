import type { FastifyReply } from 'fastify'
import type { CacheStatus } from '../../mirror/manifests.ts'
import { matchesEntityTag, rangeStillApplies } from '../../oci/conditional.ts'
import { type Digest, isDigestOfNothing } from '../../oci/digest.ts'
import { RegistryError } from '../../oci/error.ts'
import { type ByteRange, parseRange } from '../../oci/range.ts'
import type { RepositoryBlobs } from '../../registry/blobs.ts'
import type { BlobReader } from '../../storage/blob-reader.ts'
import type { BufferPool } from '../buffer-pool.ts'
import type { RequestRecord } from '../request-record.ts'
import { ClientLeftError, sendBlob } from '../send-blob.ts'
import { type Answerer, cacheHeader, type Question, type TargetOf } from './question.ts'

export interface BlobRouteOptions {
  readonly blobs: RepositoryBlobs
  readonly pool: BufferPool
}

type BlobQuestion = Question<TargetOf<'blob'>>

/** Blobs, whole or a range of them (distribution-spec end-2). */
export function blobRoute(options: BlobRouteOptions): Answerer<'blob'> {
  return (question) =>
    question.request.method === 'HEAD' ? answerHead(options, question) : answerGet(options, question)
}

async function answerHead({ blobs }: BlobRouteOptions, question: BlobQuestion): Promise<void> {
  const { reply, repository, target } = question
  const { size: told, isStored } = await blobs.head(repository, target.digest)
  const size = told ?? (isDigestOfNothing(target.digest) ? 0 : undefined)
  describeBlob(reply, target.digest, isStored ? 'hit' : 'miss')
  if (size !== undefined) reply.header('content-length', size)
  reply.send(null)
}

async function answerGet(options: BlobRouteOptions, question: BlobQuestion): Promise<void> {
  const { request, reply, repository, target, record } = question
  const { reader, status } = await options.blobs.open(repository, target.digest, record.signal)
  await using _ = reader
  const entityTag = `"${target.digest}"`
  if (matchesEntityTag(request.headers['if-none-match'], entityTag)) {
    describeBlob(reply, target.digest, status)
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
  record.blob = { size: reader.size, start }
  // Without a body there is no last byte to hold back: that the blob is empty is only a claim until then.
  if (start === end) await reader.verified({ signal: record.signal })
  describeBlob(reply, target.digest, status)
  if (range) reply.code(206).header('content-range', `bytes ${start}-${end - 1}/${reader.size}`)
  reply.header('content-length', end - start)
  record.cache = status
  await sendBody(options.pool, reply, reader, { start, end }, record)
}

/** From here on an error can no longer be told: the connection is destroyed, so that no body looks complete. */
async function sendBody(
  pool: BufferPool,
  reply: FastifyReply,
  reader: BlobReader,
  range: ByteRange,
  record: RequestRecord,
): Promise<void> {
  const { raw } = reply
  const { signal } = record
  reply.hijack()
  raw.writeHead(reply.statusCode, reply.getHeaders() as Record<string, string>)
  // Bytes may be a while off; the client's patience ends sooner without headers than without a body.
  if (!reader.isVerified) raw.flushHeaders()
  try {
    await sendBlob(raw, reader, range, { pool, signal, sent: record })
  } catch (error) {
    if (!(error instanceof ClientLeftError) && !signal.aborted) record.breakOff(error)
    raw.destroy()
  }
}

/** Sets the headers that are the same for all answers with a blob; nothing may go wrong any more. */
function describeBlob(reply: FastifyReply, digest: Digest, status: CacheStatus): void {
  reply
    .header('docker-content-digest', digest)
    .header('etag', `"${digest}"`)
    .header('accept-ranges', 'bytes')
    .header('content-type', 'application/octet-stream')
    .header('cache-control', 'max-age=31536000, immutable')
    .header(cacheHeader, status)
}
