import type { RepositoryName } from '../oci/repository-name.ts'
import type { RefusalTimes } from './refusal-times.ts'

/** Which names of repositories are wanted. */
export interface ListedAsked extends RefusalTimes {
  readonly origin: string
  /** Names behind this, in the order of their bytes; it need not be one. */
  readonly after: string
  /** Repositories that are looked at. */
  readonly limit: number
  /** Is in each of the names; all where it is empty. */
  readonly part: string
}

export interface ListedNames {
  /** Of repositories with a manifest that was pushed, or is held for anyone by one that is not refused. */
  readonly names: readonly RepositoryName[]
  /** The last one that was looked at, listed or not; undefined where there are no more. */
  readonly last: string | undefined
}
