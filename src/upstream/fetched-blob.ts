import { parseContentRange } from '../oci/range.ts'
import type { TransportResponse } from './connections/exchange.ts'
import { UpstreamError } from './error.ts'
import { contentLength, headerOf } from './response-headers.ts'

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
  /** Since when the blob is wanted, in milliseconds of `performance.now()`; since now unless set. */
  readonly since?: number
  readonly signal: AbortSignal
  /** Waits until so many bytes may come; more are not asked for before. */
  readonly pace?: ((bytes: number) => Promise<void>) | undefined
}

/** Reads what an answer says of the part that it brings. Throws UpstreamError INVALID_RESPONSE where that is nothing. */
export function fetchedBlob(
  upstream: string,
  response: TransportResponse,
  body: () => AsyncGenerator<Buffer, void, undefined>,
): FetchedBlob {
  const range = parseContentRange(headerOf(response, 'content-range'))
  if (response.status === 206 && !range) {
    response.discard()
    throw new UpstreamError('INVALID_RESPONSE', upstream, 'it sent a part of a blob without telling which')
  }
  return {
    start: response.status === 206 ? (range?.start ?? 0) : 0,
    size: response.status === 206 ? range?.size : contentLength(response),
    body,
    stop: () => response.stop(),
    discard: () => response.discard(),
  }
}
