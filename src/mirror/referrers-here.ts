import { type Digest, digestAlgorithm, digestOf } from '../oci/digest.ts'
import type { DocumentReader } from '../oci/document-reader.ts'
import type { Referrer } from '../oci/referrers.ts'
import type { Catalog } from '../storage/catalog.ts'
import type { RepositoryKey } from '../storage/repository-key.ts'

export interface ReferrersHereOptions {
  readonly catalog: Pick<Catalog, 'held' | 'manifest' | 'naming'>
  readonly documents: DocumentReader
}

/** Of one subject; a list without its upstream need not be whole. */
const maximumHere = 100

/**
 * The manifests of a mirrored repository that are here, that anyone was given, and that name `subject` as theirs, by
 * digest: what can be told where the upstream has no list of its own, or does not answer.
 */
export async function referrersHere(
  { catalog, documents }: ReferrersHereOptions,
  repository: RepositoryKey,
  subject: Digest,
): Promise<Referrer[]> {
  const referrers: Referrer[] = []
  for (const { manifest } of await catalog.naming(repository, subject, 'subject', { limit: maximumHere })) {
    if ((await catalog.held(repository, manifest))?.publicAt === undefined) continue
    const record = await catalog.manifest(repository, manifest)
    if (!record || digestOf(record.bytes, digestAlgorithm(manifest)) !== manifest) continue
    referrers.push(await documents.read('referrer', record.bytes, record.mediaType, manifest))
  }
  return referrers
}
