import { afterSilence } from '../../flow/after-silence.ts'
import { UpstreamError } from '../error.ts'

/** A body on its way. */
export interface BodySource<Piece> {
  /** The next bytes, if any are here that it is worth to take. */
  take(): Piece | undefined
  /** Whether bytes are here, also those that wait for more. */
  readonly hasBytes: boolean
  /** Resolves when `take` has something to give, and at the end. */
  arrival(): Promise<void>
  /** Set when nothing more comes; with what it failed with, where it did. */
  readonly end: { readonly error?: unknown } | undefined
  /** Ends the connection: the body fails with `error` after what has arrived. */
  destroy(error: Error): void
  /** Nobody takes any more. */
  leave(): void
}

export interface BodyOptions {
  /** The upstream's name, for errors. */
  readonly upstream: string
  /** Milliseconds without a byte after which it is given up. */
  readonly stallMs: number
  readonly signal: AbortSignal | undefined
  /** What a failure is to whoever reads. */
  readonly translate: (error: unknown) => UpstreamError
}

/** What comes of a body until its end. Throws UpstreamError TIMED_OUT on a stall, its failure, or the reason of the signal. */
export async function* readSource<Piece>(
  source: BodySource<Piece>,
  { upstream, stallMs, signal, translate }: BodyOptions,
): AsyncGenerator<Piece, void, undefined> {
  try {
    for (;;) {
      const piece = source.take()
      if (piece !== undefined) {
        yield piece
        continue
      }
      if (source.end) break
      // The watchdog runs only while we wait for the upstream, not while our own side is slow to take bytes.
      const giveUp = (): void => {
        source.destroy(new UpstreamError('TIMED_OUT', upstream, `no byte for ${stallMs / 1000} s`))
      }
      let heard = afterSilence(stallMs, () => {
        // What waits for more is told of in a moment, and nobody waits for ever should it not be.
        if (source.hasBytes) heard = afterSilence(stallMs, giveUp)
        else giveUp()
      })
      // Not a race with the end: each would leave a little at a promise that lives as long as the blob.
      await source.arrival()
      heard()
    }
  } finally {
    source.leave()
  }
  if (!('error' in source.end)) return
  signal?.throwIfAborted()
  throw translate(source.end.error)
}
