import { untilAborted } from '../flow/abortable.ts'
import type { Share, Shares } from '../flow/shares.ts'
import { RegistryError, tooManyRequests } from '../oci/error.ts'
import { maximumManifestBytes } from '../oci/manifest.ts'
import { receiveBlob } from './receive-blob.ts'
import type { RequestContext } from './request-context.ts'

/** Bytes of a body whose length nobody told, at first. */
const firstBytes = 64 * 1024

/** A body that is in memory as a whole. Dispose when its bytes are let go of. */
export interface CollectedBody extends Disposable {
  readonly bytes: Uint8Array
}

/**
 * The body of a manifest. What is in memory of all of them is bounded by `room`, in bytes: whoever waits for his part is not
 * read. Throws RegistryError MANIFEST_INVALID (413) where it is too long, before the rest of it is read; TOOMANYREQUESTS
 * (429) where there is no room in time, or it takes long while others wait; and as `receiveBlob`.
 */
export async function collectManifest(context: RequestContext, room: Shares): Promise<CollectedBody> {
  const { request, clientKey, signal } = context
  const { 'content-length': told } = request.headers
  const length = told === undefined ? undefined : Number(told)
  if (length !== undefined && length > maximumManifestBytes) throw tooLong()
  const share = await room.take(clientKey, length ?? maximumManifestBytes, { signal })
  if (!share) throw tooMany()
  try {
    const bytes = await read(context, share, length ?? firstBytes)
    return { bytes, [Symbol.dispose]: () => share[Symbol.dispose]() }
  } catch (error) {
    share[Symbol.dispose]()
    throw error
  }
}

/** Into one piece of memory: each chunk on its own would cost more than its bytes. */
async function read(context: RequestContext, share: Share, expected: number): Promise<Uint8Array> {
  const over = share.rest()
  let bytes = Buffer.allocUnsafe(expected)
  let length = 0
  try {
    for await (const piece of untilAborted(receiveBlob(context), over)) {
      const end = length + piece.length
      if (end > maximumManifestBytes) throw tooLong()
      if (end > bytes.length) {
        const larger = Buffer.allocUnsafe(Math.min(maximumManifestBytes, Math.max(end, 2 * bytes.length)))
        bytes.copy(larger, 0, 0, length)
        bytes = larger
      }
      bytes.set(piece, length)
      length = end
    }
  } catch (error) {
    throw over.aborted && error === over.reason ? tooMany() : error
  } finally {
    share.use()
  }
  return length === bytes.length ? bytes : Buffer.from(bytes.subarray(0, length))
}

function tooLong(): RegistryError {
  const message = `a manifest has at most ${maximumManifestBytes} bytes`
  return new RegistryError('MANIFEST_INVALID', message, { status: 413 })
}

function tooMany(): RegistryError {
  const message = 'as many manifests are on their way in as there is memory for: try again'
  return tooManyRequests(message)
}
