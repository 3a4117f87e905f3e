import type { ByteRange } from '../oci/range.ts'
import type { BlobReader } from '../storage/blob-reader.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import type { Background } from './fill-options.ts'

export interface OpenedBlob {
  /** To be closed by the caller. */
  readonly reader: BlobReader
  /** hit: it was stored; joined: it was on its way for somebody else; miss: this request started the fill. */
  readonly status: 'hit' | 'joined' | 'miss'
  /** Whose upstreams have given bytes of it to the fill so far; it grows while the fill runs. */
  readonly confirmedBy: ReadonlySet<RepositoryKey>
}

export interface OpenOptions {
  /** Bytes, as a descriptor claims. */
  readonly size?: number | undefined
  /** What is going to be read, in this order; it may overlap, and go beyond the end. Undefined: all of it. */
  readonly ranges?: readonly ByteRange[] | undefined
  /** For whom; undefined: for the mirror itself. */
  readonly client?: string | undefined
  /** Since when it waits for what it asked for, in milliseconds of `performance.now()`; undefined: from now on. */
  readonly since?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface FetchAheadOptions {
  /** Bytes, as a descriptor claims. */
  readonly size?: number | undefined
  /** For what it is until somebody comes for it. */
  readonly background: Background
  /** What of it is fetched before somebody comes; undefined: all. */
  readonly firstPart?: ByteRange | undefined
  /** Aborts when it is not worth it any more, if nobody has come by then. */
  readonly signal?: AbortSignal | undefined
}
