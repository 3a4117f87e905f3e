import type { Logger } from 'pino'
import { type Digest, digestAlgorithm, isDigestOfNothing } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import { UpstreamError } from '../upstream/error.ts'
import { Download, type DownloadOptions } from './download.ts'
import { MemoryWindow } from './memory-window.ts'

export interface PassThroughOptions
  extends Pick<DownloadOptions, 'upstream' | 'source' | 'limit' | 'rate' | 'retries' | 'turnMs'> {
  readonly digest: Digest
  /** Bytes, where it is known. */
  readonly size: number | undefined
  readonly logger: Logger
}

/**
 * Hands one client a blob that the disk cannot take: it comes over the line for this client alone, is verified
 * like any other, and is not kept. Resolves when the size is known. Closing the reader ends the download. Rejects
 * with UpstreamError where the upstream fails before that, or never tells the size.
 */
export async function passThrough(options: PassThroughOptions): Promise<BlobReader> {
  const { digest, upstream, logger } = options
  const left = new AbortController()
  const opened = Promise.withResolvers<MemoryWindow>()
  const download = new Download({
    ...options,
    signal: left.signal,
    onFirstByte: () => {},
    open: async (told) => {
      const size = told ?? (isDigestOfNothing(digest) ? 0 : undefined)
      if (size === undefined)
        throw new UpstreamError('INVALID_RESPONSE', upstream, 'it does not tell the size of a blob')
      const window = new MemoryWindow(size, digestAlgorithm(digest))
      opened.resolve(window)
      return window
    },
  })
  download
    .run()
    .then(
      (partial) => partial.seal(digest),
      async (error: Error) => {
        opened.reject(blamed(error))
        await (await opened.promise).discard(error)
      },
    )
    .catch((error: unknown) => logger.debug({ digest, err: error }, 'a blob could not be handed through'))
  // Wrong bytes are the upstream's failure, not the client's.
  const blamed = (error: unknown): unknown =>
    error instanceof RegistryError
      ? new UpstreamError('INVALID_RESPONSE', upstream, `it sent a wrong blob: ${error.message}`, {
          cause: error,
        })
      : error
  const blame = (error: unknown): never => {
    throw blamed(error)
  }
  const reader = (await opened.promise).reader()
  return {
    size: reader.size,
    get isVerified() {
      return reader.isVerified
    },
    verified: (wait) => reader.verified(wait).catch(blame),
    read: (buffer, position, wait) => reader.read(buffer, position, wait).catch(blame),
    async [Symbol.asyncDispose]() {
      left.abort(new Error('the client has left'))
      await reader[Symbol.asyncDispose]()
    },
  }
}
