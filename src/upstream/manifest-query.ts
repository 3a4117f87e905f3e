import type { Digest } from '../oci/digest.ts'
import { manifestAccept } from '../oci/media-type.ts'
import { isDigestReference, type Reference } from '../oci/reference.ts'
import type { Question } from './question.ts'

/** What an upstream says of a manifest that nobody has seen here. */
export interface ManifestClaims {
  readonly digest: Digest | undefined
  readonly mediaType: string | undefined
  /** Bytes. */
  readonly size: number | undefined
}

/** Milliseconds for which a line that has dropped is waited for: clients give up after 30 s without headers. */
const manifestPatienceMs = 20_000

/** How a manifest is asked for. Who asks by digest is in the middle of a pull; a tag is answered at once, if only by a refusal. */
export function manifestQuery(reference: Reference): Pick<Question, 'path' | 'headers' | 'patience'> {
  const headers = { accept: manifestAccept.join(', ') }
  const path = `manifests/${reference}`
  if (!isDigestReference(reference)) return { path, headers }
  return { path, headers, patience: { since: performance.now(), forMs: manifestPatienceMs } }
}
