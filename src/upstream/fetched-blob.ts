import type { LentBytes } from '../flow/lent-bytes.ts'
import type { Turn } from '../flow/slots.ts'
import { parseContentRange } from '../oci/range.ts'
import { UpstreamError } from './error.ts'
import type { Answer, Asker } from './question.ts'
import { contentLength, headerOf } from './response-headers.ts'
import type { StorageAddress } from './storage-address.ts'

/** A part of a blob on its way. Its `body` is read once and to its end, or left, or `discard` is called instead. */
export interface FetchedBlob {
  /** The position of the first byte of `body`. It may differ from the one that was asked for: 0 after a 200. */
  readonly start: number
  /** The position behind the last byte that the answer announces, whatever was asked for; undefined where it does not. */
  readonly end: number | undefined
  /** Bytes of the whole blob, where the upstream tells. */
  readonly size: number | undefined
  /** The origin that sends it. */
  readonly origin: string
  /** For whom it is evidence that the repository has it. */
  readonly as: Asker
  /** The bytes as they arrive, each lent until the next is asked for. */
  body(): AsyncGenerator<LentBytes, void, undefined>
  /** Ends the connection; `body` ends after what has arrived. */
  stop(): void
  /** Lets go of an answer whose body nobody reads. */
  discard(): void
}

/** Which part of a blob is wanted. */
export interface BlobQuery {
  /** The position of the first byte. */
  readonly position: number
  /** Where they end (exclusive); undefined: to the end of the blob. */
  readonly end?: number | undefined
  /** Since when the blob is wanted, in milliseconds of `performance.now()`; since now unless set. */
  readonly since?: number
  readonly signal: AbortSignal
  /** Shared by those that bring parts of the same blob of the same repository; without it the registry is asked each time. */
  readonly address?: StorageAddress | undefined
  /** For whom it is wanted, and what became of it; without it, it is nobody's, and is never told to end. */
  readonly turn?: Turn | undefined
  /** Called when it has its place among the connections. */
  readonly onPlace?: (() => void) | undefined
  /** Waits until so many bytes may come; more are not asked for before. */
  readonly pace?: ((bytes: number) => Promise<void>) | undefined
}

/**
 * The part of a blob that an answer brings, by what it says of it. It has `slot` until its body has ended, or is left or
 * stopped; `onBytes` hears of all that arrives, `onEnd` when nothing more will. Throws UpstreamError INVALID_RESPONSE where the
 * answer does not say which part.
 */
export function fetchedBlob(
  upstream: string,
  answer: Answer,
  slot: Disposable,
  { onBytes, onEnd }: { readonly onBytes: (bytes: number) => void; readonly onEnd: () => void },
): FetchedBlob {
  const range = parseContentRange(headerOf(answer, 'content-range'))
  if (answer.status === 206 && !range) {
    answer.discard()
    throw new UpstreamError('INVALID_RESPONSE', upstream, 'it sent a part of a blob without telling which')
  }
  const whole = contentLength(answer)
  const part = answer.status === 206 ? range : { start: 0, end: whole, size: whole }
  return {
    start: part?.start ?? 0,
    end: part?.end,
    size: part?.size,
    origin: answer.url.origin,
    as: answer.as,
    async *body() {
      using _ = slot
      try {
        for await (const lent of answer.lent()) {
          onBytes(lent.length)
          yield lent
        }
      } finally {
        onEnd()
      }
    },
    stop: () => {
      answer.stop()
      // What has arrived may have to wait for its taker; the line is free.
      slot[Symbol.dispose]()
    },
    discard: () => {
      answer.discard()
      slot[Symbol.dispose]()
    },
  }
}
