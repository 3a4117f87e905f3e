import type { Logger } from 'pino'
import type { Priority } from '../flow/slots.ts'
import type { TokenBucket } from '../flow/token-bucket.ts'
import { type Digest, digestAlgorithm, digestHex } from '../oci/digest.ts'
import type { BlobStore } from '../storage/blob-store.ts'
import type { Partial } from '../storage/partial.ts'
import type { ByteInterval } from '../storage/ranges.ts'
import type { DiskState } from './disk-state.ts'
import type { FetchLimits } from './fetch-limits.ts'
import type { FillCounts } from './fill-counts.ts'
import type { Origins } from './origins.ts'
import type { Ramp } from './ramp.ts'
import type { Reservation } from './reservation.ts'
import type { Suspects } from './suspects.ts'
import type { Windows } from './windows.ts'

/** Why bytes come that nobody has asked for. */
export type Background = Exclude<Priority, 'people'>

export interface FillOptions {
  readonly digest: Digest
  readonly store: BlobStore
  /** Whether the blob is here by now. Throws StorageError. */
  readonly isStored: () => Promise<boolean>
  /** Publishes a verified partial, unless the blob is stored by now. */
  readonly publish: (partial: Partial) => Promise<void>
  /** Of the disk, for all of it. */
  readonly room: Reservation
  readonly disk: DiskState
  /** For what it is before the first one waits for it; undefined: somebody does at once. */
  readonly background?: Background | undefined
  /** What is brought before the first one waits for it; undefined: all. */
  readonly firstPart?: ByteInterval | undefined
  /** Nobody waits for it any more. */
  readonly onAbandoned: () => void
  /** It takes no more followers; called before those who wait hear of its end. `stopped`: it was told to. */
  readonly onEnd: (how: 'finished' | 'failed' | 'stopped') => void
  /** Of the first way's upstream, added to as it goes. */
  readonly counts: FillCounts
  readonly windows: Windows
  readonly origins: Origins
  readonly rate: TokenBucket | undefined
  readonly limits: FetchLimits
  /** How many connections help, by the name of an upstream. */
  readonly rampOf: (upstream: string) => Ramp
  /** The part of the blob that has to be here for it to go on when all clients have left; more than 1: it never does. */
  readonly finishFrom: number
  /** Attempts in a row without a new byte before a way is given up. */
  readonly retries: number
  /** Milliseconds without a byte after which a way is left for another one. */
  readonly slowMs: number
  /** Ways that were wrong about a digest a moment ago. */
  readonly suspects: Suspects
  /** Milliseconds that a reader waits for the first byte of a blob whose size is known. */
  readonly patienceMs: number
  readonly logger: Logger
}

export interface FollowOptions {
  /** Bytes, as a descriptor claims. */
  readonly claim: number | undefined
  /** For whom; undefined: for the mirror itself. */
  readonly client?: string | undefined
  /** What will be read; undefined: all. */
  readonly ranges?: readonly ByteInterval[] | undefined
  readonly signal?: AbortSignal | undefined
}

/** The name of a blob's partial: the same for every process, so that the next one finds what this one left. */
export function partialId(digest: Digest): string {
  return `${digestAlgorithm(digest)}-${digestHex(digest)}`
}

/** The name of the partial beside that one, where its bytes are in doubt. */
export function besidePartialId(digest: Digest): string {
  return `${partialId(digest)}-anew`
}

/** The names of all that fills of a blob write to. */
export function partialIds(digest: Digest): string[] {
  return [partialId(digest), besidePartialId(digest)]
}
