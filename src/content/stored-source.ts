import type { Pieces } from '../flow/pieces.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import { StorageError } from '../storage/error.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { Source } from './source.ts'

const name = 'what is stored here'

/** A way to bytes that are stored here: a push may complete a blob in the middle of its fill. Nobody's evidence. */
export function storedSource(openStored: () => Promise<BlobReader | undefined>, pieces: Pieces): Source {
  return {
    name,
    repository: undefined,
    async open(position, { signal }) {
      const reader = await openStored().catch(blame)
      if (!reader) throw new UpstreamError('NOT_FOUND', name, 'the blob was removed just now')
      let isStopped = false
      return {
        start: position,
        size: reader.size,
        async *body() {
          try {
            for (let at = position; at < reader.size && !isStopped; ) {
              using piece = pieces.acquire()
              const { bytes } = piece
              const count = await reader.read(bytes, at, { signal }).catch((error: unknown) => {
                // It may be read into still.
                piece.abandon()
                return blame(error)
              })
              if (count === 0) throw new UpstreamError('UNREACHABLE', name, 'its file became shorter')
              using read = piece.share(0, count)
              yield read
              at += count
            }
          } finally {
            await reader[Symbol.asyncDispose]()
          }
        },
        stop: () => {
          isStopped = true
        },
        discard: () => void reader[Symbol.asyncDispose](),
      }
    },
  }
}

/** That this file cannot be read is no failure of the disk that the fill writes to: there are other ways. */
function blame(error: unknown): never {
  if (!(error instanceof StorageError)) throw error
  throw new UpstreamError('UNREACHABLE', name, error.message, { cause: error })
}
