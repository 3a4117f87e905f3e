import type { ParsedManifest } from '../oci/manifest.ts'
import type { ManifestReference } from './catalog.ts'

/** What a manifest names, in the form in which the catalog keeps it. */
export function referencesOf({
  manifests,
  blobs,
  config,
  subject,
  artifactType,
}: ParsedManifest): ManifestReference[] {
  return [
    ...blobs.map((blob) => named(blob, blob === config ? 'config' : 'layer')),
    ...manifests.map((manifest) => named(manifest, 'manifest')),
    ...(subject
      ? [{ ...named(subject, 'subject'), ...(artifactType === undefined ? {} : { artifactType }) }]
      : []),
  ]
}

function named(
  { digest: target, size }: ParsedManifest['blobs'][number],
  kind: ManifestReference['kind'],
): ManifestReference {
  return { target, kind, ...(size === undefined ? {} : { size }) }
}
