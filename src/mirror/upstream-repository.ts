import type { RepositoryName } from '../oci/repository-name.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'
import type { Asking } from '../upstream/question.ts'
import type { RegistryClient } from '../upstream/registry-client.ts'

/** A repository of an upstream, and the client that asks it. */
export interface UpstreamRepository {
  readonly key: RepositoryKey
  readonly name: RepositoryName
  readonly upstream: RegistryClient
}

/** How an answer came about. */
export type AnswerStatus = 'hit' | 'joined' | 'miss' | 'revalidated' | 'stale'

/** How a question about what is mirrored is answered, and for whom. */
export interface MirrorQuery extends Asking {
  /** Whether what is here may be served as it is, and while the upstream fails; else nothing is without its word. */
  readonly isGiven: boolean
}
