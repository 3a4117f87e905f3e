import type { CacheStatus } from './repository.ts'

/** A request for a manifest or a blob of a repository, as it begins. Times are milliseconds of one clock. */
export interface Asked {
  /** The client's address. */
  readonly client: string
  /** Its User-Agent. */
  readonly agent: string | undefined
  /** The upstream's name. */
  readonly upstream: string
  readonly repository: string
  readonly kind: 'manifest' | 'blob'
  readonly reference: string
  readonly isHead: boolean
  readonly at: number
}

/** How it ended. */
export interface Answered {
  readonly at: number
  /** HTTP status. */
  readonly status: number
  readonly ending: 'complete' | 'left' | 'broken'
  readonly cache: CacheStatus | undefined
  /** Whether it came over the line for this client before it asked. */
  readonly isAhead?: boolean
  /** Bytes of the body that were sent. */
  readonly bytes: number
  /** Bytes among them that a client which left may not have taken. */
  readonly pendingBytes: number
  readonly manifest:
    | { readonly digest: string; readonly mediaType: string; readonly bytes: Uint8Array }
    | undefined
  /** The size of the blob in bytes, and the position of the first byte of the body; undefined: it has several parts of it. */
  readonly blob: { readonly size: number; readonly start: number | undefined } | undefined
  /** What went wrong, in words. */
  readonly reason: string | undefined
}

/** That connections of a client were closed before it meant them to be. */
export interface LetGo {
  readonly client: string
  /** In words. */
  readonly reason: string
  readonly at: number
}

/** `stopped`: the mirror ended while it was under way. */
export type PullOutcome = 'finished' | 'left' | 'failed' | 'stopped'

/** That a machine has pulled an image, or tried to. Sizes are bytes of manifests and blobs that were sent to it. */
export interface Pull {
  readonly client: string
  readonly agent: string | undefined
  readonly upstream: string
  readonly repository: string
  /** The tag or digest that it was asked for by; undefined where only blobs were. */
  readonly reference: string | undefined
  readonly digest: string | undefined
  readonly bytes: number
  /** Were here before. */
  readonly cachedBytes: number
  /** Came over the line for another client's request at the same time. */
  readonly joinedBytes: number
  /** Came over the line for this client. */
  readonly lineBytes: number
  readonly ms: number
  readonly outcome: PullOutcome
  /** Why it did not finish. */
  readonly reason: string | undefined
  /** Whether it was refused rightly: there is no such thing, or not for this client. */
  readonly isRefusal: boolean
}
