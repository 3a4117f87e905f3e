import type { Digest } from '../oci/digest.ts'
import type { Asker } from './question.ts'

/** A manifest as the upstream sent it; nobody has verified it yet. */
export interface FetchedManifest {
  readonly bytes: Buffer
  readonly contentType: string | undefined
  /** Docker-Content-Digest, if it is a digest at all. */
  readonly claimedDigest: Digest | undefined
  /** What was asked for in place of the reference, which is what anyone was told of. */
  readonly askedDigest: Digest | undefined
  /** For whom it is evidence that the repository has it. */
  readonly as: Asker
}
