import { type Digest, isDigestOfNothing } from '../oci/digest.ts'
import { parseMediaType } from '../oci/media-type.ts'
import { parseContentRange } from '../oci/range.ts'
import type { TransportResponse } from './connections/exchange.ts'
import { UpstreamError } from './error.ts'
import { contentLength, headerOf } from './response-headers.ts'

/** A way to ask about one blob. */
export interface BlobQuestion {
  readonly method: 'HEAD' | 'GET'
  /** Asks for the first byte only. */
  readonly isFirstByte: boolean
  /** Whether the registry's redirect to storage is answer enough. */
  readonly keepRedirect: boolean
}

type Ask = (question: BlobQuestion) => Promise<TransportResponse>

/** What an error page may be sent as, and hardly ever a blob. */
const pageType = /^text\/|[/+](?:json|xml)$/

/**
 * Resolves where the registry says that it has the blob, by HEAD or else by GET of one byte: a redirect to the bytes
 * says so, whatever storage makes of the method. Throws UpstreamError, the registry's refusal among them.
 */
export async function assertBlob(ask: Ask, digest: Digest): Promise<void> {
  try {
    const response = await ask({ method: 'HEAD', isFirstByte: false, keepRedirect: true })
    response.discard()
  } catch (error) {
    if (!isOddAnswer(error)) throw error
    const response = await ask({ method: 'GET', isFirstByte: hasFirstByte(digest), keepRedirect: true })
    response.discard()
  }
}

/**
 * The size of a blob in bytes, by HEAD, or by GET of one byte where HEAD does not tell it; undefined where the
 * registry has the blob and nobody tells. URLs of storage may be signed for GET alone. Throws as `assertBlob` does.
 */
export async function blobSize(ask: Ask, digest: Digest): Promise<number | undefined> {
  let isOutOfReach = false
  try {
    const response = await ask({ method: 'HEAD', isFirstByte: false, keepRedirect: false })
    response.discard()
    const size = sizeOf(response, digest)
    if (size !== undefined) return size
  } catch (error) {
    // The registry's own word is final, a redirect that led to an error is none.
    if (!(isOddAnswer(error) || isElsewhere(error))) throw error
    await assertBlob(ask, digest)
    isOutOfReach = isElsewhere(error) && error.isOutage && !error.isOdd
  }
  return isOutOfReach ? undefined : sizeByFirstByte(ask, digest)
}

async function sizeByFirstByte(ask: Ask, digest: Digest): Promise<number | undefined> {
  try {
    const response = await ask({ method: 'GET', isFirstByte: hasFirstByte(digest), keepRedirect: false })
    response.discard()
    return sizeOf(response, digest)
  } catch (error) {
    if (error instanceof UpstreamError) return undefined
    throw error
  }
}

/** Asked for the first byte of nothing, servers answer 416. */
function hasFirstByte(digest: Digest): boolean {
  return !isDigestOfNothing(digest)
}

/** Neither a yes, nor a no, nor an outage: such as 400, 403, 405 and 5xx, which some have for HEAD alone. */
function isOddAnswer(error: unknown): boolean {
  return error instanceof UpstreamError && (error.isOdd || error.code === 'FORBIDDEN')
}

function isElsewhere(error: unknown): error is UpstreamError {
  return error instanceof UpstreamError && error.isElsewhere
}

/** Of the whole blob: a part has the length of the part, also where HEAD is answered by one. */
function sizeOf(response: TransportResponse, digest: Digest): number | undefined {
  if (response.status !== 206) return lengthOf(response, digest)
  return parseContentRange(headerOf(response, 'content-range'))?.size
}

/** Content-Length, where it can be that of the blob. */
function lengthOf(response: TransportResponse, digest: Digest): number | undefined {
  const { headers } = response
  const encoding = headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity' || pageType.test(parseMediaType(headers['content-type']) ?? ''))
    return undefined
  const size = contentLength(response)
  return (size === 0) === isDigestOfNothing(digest) ? size : undefined
}
