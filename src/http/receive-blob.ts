import type { IncomingMessage } from 'node:http'
import { RegistryError } from '../oci/error.ts'
import type { RequestContext } from './request-context.ts'
import { ClientLeftError } from './send-blob.ts'

/**
 * The body of a request, piece by piece as it comes: whoever takes no more stops the client (backpressure), so that no
 * more than a piece or two is in memory. `length`: what the client said beside the framing of HTTP, in bytes. Rejects
 * with ClientLeftError where it leaves before the end, with RegistryError SIZE_INVALID (400) where the body is longer or shorter than `length`: what came within it was handed over all the same.
 */
export async function* receiveBlob(
  context: RequestContext,
  { length = Number.POSITIVE_INFINITY }: { length?: number | undefined } = {},
): AsyncGenerator<Uint8Array> {
  context.wantBody()
  // Whoever stops early still answers on this connection.
  for await (const piece of piecesOf(context.request)) {
    const wanted = piece.subarray(0, Math.max(0, length - context.receivedBytes))
    context.receivedBytes += wanted.length
    if (wanted.length > 0) yield wanted
    if (wanted.length < piece.length) throw wrongLength('longer', length)
  }
  if (Number.isFinite(length) && context.receivedBytes < length) throw wrongLength('shorter', length)
}

/**
 * Throws RegistryError UNSUPPORTED (415) where the body is packed: its bytes would be others than those of the digest, and
 * nothing is unpacked here.
 */
export function refuseEncoded({ headers }: IncomingMessage): void {
  const { 'content-encoding': encoding = 'identity' } = headers
  if (encoding.trim().toLowerCase() === 'identity') return
  const message = `Content-Encoding ${encoding} is not taken: send the bytes as they are`
  throw new RegistryError('UNSUPPORTED', message, { status: 415 })
}

/** Whether a request has a body, of which some bytes may still be to come. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || !/^0*$/.test(headers['content-length'] ?? '')
}

/** Reads the rest of a body and forgets it. False where it is more than so much, or is not here in time. */
export async function drain(
  request: IncomingMessage,
  { bytes, ms }: { readonly bytes: number; readonly ms: number },
): Promise<boolean> {
  const reading = (async () => {
    let left = bytes
    for await (const piece of piecesOf(request)) {
      left -= piece.length
      if (left < 0) return false
    }
    return true
  })()
  const { promise: late, resolve } = Promise.withResolvers<false>()
  const timer = setTimeout(resolve, ms, false)
  try {
    return await Promise.race([reading, late])
  } catch {
    return false
  } finally {
    clearTimeout(timer)
  }
}

async function* piecesOf(request: IncomingMessage): AsyncGenerator<Buffer> {
  try {
    yield* request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>
  } catch (error) {
    // Whatever a socket fails with, its other end is gone; an error of whoever takes the pieces never comes here.
    throw new ClientLeftError(error)
  }
}

function wrongLength(how: 'longer' | 'shorter', length: number): RegistryError {
  return new RegistryError(
    'SIZE_INVALID',
    `the body is ${how} than the ${length} bytes that Content-Range says`,
  )
}
