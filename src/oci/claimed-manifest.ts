import { type Digest, digestAlgorithm, digestOf } from './digest.ts'
import { type ParsedManifest, parseManifest } from './manifest.ts'
import { isManifestMediaType, manifestMediaTypes, parseMediaType } from './media-type.ts'
import { signedPayload } from './signed-manifest.ts'

/** What bytes turned out to be: the manifest that somebody said they are, or another one. */
export type ClaimedManifest =
  | { readonly digest: Digest; readonly mediaType: string; readonly parsed: ParsedManifest }
  | { readonly wrong: Digest; readonly found: Digest }

/**
 * Reads a manifest that must have each of the digests that are claimed for it; without any it has that of its content.
 * Throws RegistryError MANIFEST_INVALID as `parseManifest` does.
 */
export function parseClaimedManifest(
  bytes: Uint8Array,
  contentType: string | undefined,
  claims: readonly Digest[],
): ClaimedManifest {
  const wrong = claims.find((claim) => !isDigestOf(claim, bytes, contentType))
  if (wrong !== undefined) return { wrong, found: digestOf(bytes, digestAlgorithm(wrong)) }
  const digest = claims[0] ?? digestOf(contentOf(bytes, contentType))
  const parsed = parseManifest(bytes, contentType)
  const sent = parseMediaType(contentType)
  return { digest, mediaType: isManifestMediaType(sent) ? sent : parsed.mediaType, parsed }
}

/**
 * Whether a manifest of this content type has this digest. Throws RegistryError MANIFEST_INVALID where it is signed
 * and its signatures say nonsense.
 */
export function isDigestOf(digest: Digest, bytes: Uint8Array, contentType: string | undefined): boolean {
  const algorithm = digestAlgorithm(digest)
  return (
    digestOf(bytes, algorithm) === digest || digestOf(contentOf(bytes, contentType), algorithm) === digest
  )
}

/** What a manifest's digest is of: its bytes, of a signed one without the signatures. */
function contentOf(bytes: Uint8Array, contentType: string | undefined): Uint8Array {
  const mediaType = parseMediaType(contentType)
  const mayBeSigned = mediaType === manifestMediaTypes.dockerSchema1Signed || !isManifestMediaType(mediaType)
  return (mayBeSigned && signedPayload(bytes)) || bytes
}
