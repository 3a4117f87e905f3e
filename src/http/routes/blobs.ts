import type { FastifyReply } from 'fastify'
import type { ClientSlots } from '../../flow/client-slots.ts'
import type { Pieces } from '../../flow/pieces.ts'
import { matchesEntityTag, rangeStillApplies } from '../../oci/conditional.ts'
import { type Digest, isDigestOfNothing } from '../../oci/digest.ts'
import { RegistryError, tooManyRequests } from '../../oci/error.ts'
import { type ByteRange, parseRanges, satisfiableRanges } from '../../oci/range.ts'
import type { CacheStatus } from '../../registry/repository.ts'
import type { BlobReader } from '../../storage/blob-reader.ts'
import type { BufferPool } from '../buffer-pool.ts'
import { describeServed } from '../describe-served.ts'
import { type BlobBody, multipart } from '../multipart.ts'
import type { Question } from '../question.ts'
import type { RequestContext } from '../request-context.ts'
import type { Route } from '../routing.ts'
import { ClientLeftError, sendBlob } from '../send-blob.ts'

export interface BlobRoutesOptions {
  /** The buffers of all transfers. */
  readonly pool: BufferPool
  /** What is lent to transfers of blobs on their way is a part of. */
  readonly pieces: Pick<Pieces, 'isScarce'>
  /** Transfers to one client (`limits.perClient.transfers`); what waits for its turn holds nothing meanwhile. */
  readonly transfers: ClientSlots
}

const blobType = 'application/octet-stream'

/** Blobs, whole or ranges of them (distribution-spec end-2, end-10). */
export function blobRoutes(options: BlobRoutesOptions): readonly Route<'blob'>[] {
  return [
    { kind: 'blob', method: 'GET', action: 'pull', answer: (question) => answerGet(options, question) },
    { kind: 'blob', method: 'HEAD', action: 'pull', answer: answerHead },
    { kind: 'blob', method: 'DELETE', action: 'delete', answer: forget },
  ]
}

async function answerHead(question: Question<'blob'>): Promise<void> {
  const { context, reply, repository, target, asker } = question
  // containerd looks before it logs in. Where everything is here but the tag, it would be told by the manifest alone
  // that it has to, and wait for ever (decision 0030).
  if (repository.push) asker.requireToken(target.name)
  const { size: told, isStored, doubt } = await repository.blobStat(target.digest, context.asker)
  const size = told ?? (isDigestOfNothing(target.digest) ? 0 : undefined)
  describeBlob(reply, target.digest, { status: isStored ? 'hit' : 'miss', doubt })
  if (size !== undefined) reply.header('content-length', size)
  reply.send(null)
}

async function forget({ context, reply, repository, target }: Question<'blob'>): Promise<void> {
  const isGone = await repository.forgetBlob(target.digest, context.asker)
  if (!isGone) throw new RegistryError('BLOB_UNKNOWN', `${repository.name} has no blob ${target.digest} here`)
  reply.code(202).send()
}

async function answerGet(
  { pool, pieces, transfers }: BlobRoutesOptions,
  { context, reply, repository, target }: Question<'blob'>,
): Promise<void> {
  const { request, signal, clientKey: client } = context
  // Not since the request came: it may have waited behind others on its connection.
  const since = performance.now()
  using turn = await transfers.take(client, { signal, since })
  if (turn === undefined) {
    const message =
      'as many blobs are on their way to this address as may be at a time (limits.perClient.transfers): try again when some have ended; where many machines share the address, raise that in mirror.yml'
    throw tooManyRequests(message)
  }
  const entityTag = `"${target.digest}"`
  const { range: header, 'if-range': condition } = request.headers
  const isCurrent = rangeStillApplies(typeof condition === 'string' ? condition : undefined, entityTag)
  const asked = isCurrent ? parseRanges(header) : undefined
  const served = await repository.blob(target.digest, { signal, client, since, ranges: asked })
  const { reader } = served
  await using _reader = reader
  if (matchesEntityTag(request.headers['if-none-match'], entityTag)) {
    describeBlob(reply, target.digest, served)
    reply.code(304).send()
    return
  }
  const { size } = reader
  const ranges = asked && satisfiableRanges(asked, size)
  if (ranges === 'unsatisfiable') {
    reply.header('content-range', `bytes */${size}`)
    const message = `the blob has ${size} bytes, and the range "${header?.slice(0, 50)}" is not among them: ask for one that is, or for the whole`
    throw new RegistryError('SIZE_INVALID', message, { status: 416 })
  }
  // Without a body there is no last byte to hold back: that the blob is empty is only a claim until then.
  if (size === 0) await reader.verified({ signal })
  describeBlob(reply, target.digest, served)
  context.cache = served.status
  context.isAhead = served.isAhead === true
  const body = describeBody(reply, reader, ranges)
  context.blob = { size, start: body.parts.length === 1 ? body.parts[0]?.start : undefined }
  await sendBody({ pool, pieces }, reply, reader, body, context)
}

/** Sets the headers that tell which bytes an answer has. `ranges`: undefined for all of them. */
function describeBody(
  reply: FastifyReply,
  { size, isVerified }: BlobReader,
  ranges: readonly ByteRange[] | undefined,
): BlobBody {
  const [first = { start: 0, end: size }, ...others] = ranges ?? []
  if (ranges) reply.code(206)
  if (others.length > 0) {
    // What is on its way comes in its order, and passes by where there is no room for it.
    const inOrder = isVerified ? [first, ...others] : [first, ...others].toSorted((a, b) => a.start - b.start)
    const { contentType, length, ...body } = multipart(inOrder, { size, type: blobType })
    reply.header('content-type', contentType).header('content-length', length)
    return body
  }
  if (ranges) reply.header('content-range', `bytes ${first.start}-${first.end - 1}/${size}`)
  reply.header('content-length', first.end - first.start)
  return { parts: [first] }
}

/** From here on an error can no longer be told: the connection is destroyed, so that no body looks complete. */
async function sendBody(
  memory: Pick<BlobRoutesOptions, 'pool' | 'pieces'>,
  reply: FastifyReply,
  reader: BlobReader,
  body: BlobBody,
  context: RequestContext,
): Promise<void> {
  const { raw } = reply
  const { signal } = context
  reply.hijack()
  raw.writeHead(reply.statusCode, reply.getHeaders() as Record<string, string>)
  // Bytes may be a while off; the client's patience ends sooner without headers than without a body.
  if (!reader.isVerified) raw.flushHeaders()
  try {
    await sendBlob(raw, reader, body, { ...memory, signal, sent: context })
  } catch (error) {
    if (!(error instanceof ClientLeftError) && !signal.aborted) context.breakOff(error)
    raw.destroy()
  }
}

/** Sets the headers that are the same for all answers with a blob; nothing may go wrong any more. */
function describeBlob(
  reply: FastifyReply,
  digest: Digest,
  { status, doubt }: { readonly status: CacheStatus; readonly doubt?: string | undefined },
): void {
  describeServed(reply, { status }, doubt)
  reply
    .header('docker-content-digest', digest)
    .header('etag', `"${digest}"`)
    .header('accept-ranges', 'bytes')
    .header('content-type', blobType)
    .header('cache-control', 'max-age=31536000, immutable')
}
