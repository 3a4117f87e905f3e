import type { LentBytes } from '../flow/lent-bytes.ts'
import type { Turn } from '../flow/slots.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'

/** Which bytes are wanted of a source, beside the position where they begin. */
export interface SpanQuery {
  /** Where they end (exclusive), if the bytes from there on are here already; undefined: to the end of the blob. */
  readonly end?: number | undefined
  /** Since when the blob is wanted, in milliseconds of `performance.now()`. */
  readonly since: number
  readonly signal: AbortSignal
  /** For whom they are wanted, and what came of it, where the line has to be shared with others. */
  readonly turn: Turn
  /** To be called when it has its place on the line, where there is a queue. */
  readonly onPlace?: (() => void) | undefined
  /** Waits until so many bytes may come; more are not asked for before. */
  readonly pace?: ((bytes: number) => Promise<void>) | undefined
}

/**
 * A way to the bytes of one digest: an upstream, another upstream, another node, the blob that a push has just stored.
 * What it says and sends is a claim; the digest decides.
 */
export interface Source {
  /** Of the upstream, for errors and the log. */
  readonly name: string
  /** Whose evidence it is when it gives bytes; undefined: nobody's (what is stored here, a peer). */
  readonly repository: RepositoryKey | undefined
  /** Milliseconds of a round trip to where its bytes last came from, or else to whom it asks; undefined: nobody knows yet. */
  readonly roundTripMs?: number | undefined
  /**
   * Takes the turn of a blob among those that come from there at a time, to be given back once; there is none where that is
   * not bounded. Rejects with the reason of `signal`.
   */
  turn?(turn: Turn, signal: AbortSignal): Promise<Disposable>
  /**
   * Opens the way to the bytes from `position` on, once; waits for its turn on the line first. Throws UpstreamError, or
   * the reason of the query's signal.
   */
  open(position: number, query: SpanQuery): Promise<OpenedSpan>
  /**
   * Asks how many bytes the blob has, where what it sends does not tell; undefined where nothing tells. Throws UpstreamError,
   * or the reason of the signal.
   */
  size?(options: { readonly signal: AbortSignal }): Promise<number | undefined>
  /** What it brought did not match the digest: it forgets where it got that from, and asks anew. */
  distrust?(): void
}

/** Bytes on their way. Its `body` is read once and to its end, or left, or `discard` is called instead. */
export interface OpenedSpan {
  /** The position of the first byte of `body`. It may differ from the one that was asked for: 0 where it ignores that. */
  readonly start: number
  /** The position behind the last byte that it announces, where it does. */
  readonly end?: number | undefined
  /** Bytes of the whole blob, where the source tells. */
  readonly size: number | undefined
  /** The bytes as they arrive, each lent until the next is asked for. */
  body(): AsyncIterable<LentBytes>
  /** Ends the connection, and its place on the line is free; `body` ends after what has arrived. */
  stop(): void
  /** Lets go of an answer whose body nobody reads. */
  discard(): void
}
