import type { Digest } from '../oci/digest.ts'
import { parseManifest } from '../oci/manifest.ts'
import { isNondistributable } from '../oci/media-type.ts'
import type { ManifestRecord } from '../storage/catalog.ts'

/** What is asked of a repository about one of its manifests. */
export interface Needed {
  /** Whether the bytes of a blob are as they were pushed. */
  readonly isHere: (digest: Digest) => Promise<boolean>
  /** A manifest that was pushed, and is here. */
  readonly manifest: (digest: Digest) => Promise<ManifestRecord | undefined>
}

/**
 * The first thing that a pushed manifest needs and that is not here any more, in it or in the manifests of an index;
 * undefined where all is well. Layers that only their vendor hands out need not be here.
 */
export async function lostOf(
  manifest: ManifestRecord,
  needed: Needed,
  seen = new Set<Digest>(),
): Promise<Digest | undefined> {
  seen.add(manifest.digest)
  const { blobs, manifests } = parseManifest(manifest.bytes, manifest.mediaType)
  for (const { digest, mediaType } of blobs) {
    if (seen.has(digest) || isNondistributable(mediaType)) continue
    seen.add(digest)
    if (!(await needed.isHere(digest))) return digest
  }
  for (const { digest } of manifests) {
    if (seen.has(digest)) continue
    const record = await needed.manifest(digest)
    if (!record) return digest
    const lost = await lostOf(record, needed, seen)
    if (lost !== undefined) return lost
  }
  return undefined
}
