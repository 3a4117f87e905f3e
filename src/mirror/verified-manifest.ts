import { type Digest, digestAlgorithm, digestOf } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { type ParsedManifest, parseManifest } from '../oci/manifest.ts'
import { isManifestMediaType, manifestMediaTypes, parseMediaType } from '../oci/media-type.ts'
import { isDigestReference, type Reference } from '../oci/reference.ts'
import { signedPayload } from '../oci/signed-manifest.ts'
import type { ManifestRecord } from '../storage/catalog.ts'
import type { FetchedManifest } from '../upstream/registry-client.ts'
import { unreadable } from '../upstream/web-page.ts'

/**
 * Nothing an upstream claims is believed: the digest is that of the bytes, and must be the one that was asked for
 * and the one of the header; the content type must agree with the body. Throws UpstreamError INVALID_RESPONSE.
 */
export function verifyManifest(
  upstream: string,
  reference: Reference,
  { bytes, contentType, claimedDigest, askedDigest }: FetchedManifest,
): { manifest: ManifestRecord; parsed: ParsedManifest } {
  try {
    const claims = [isDigestReference(reference) ? reference : undefined, askedDigest, claimedDigest].flatMap(
      (claim) => claim ?? [],
    )
    const wrong = claims.find((claim) => !isDigestOf(claim, bytes, contentType))
    if (wrong !== undefined) {
      const found = digestOf(bytes, digestAlgorithm(wrong))
      const message = `the manifest it sent for ${reference} is ${found}, not ${wrong}`
      throw unreadable(upstream, contentType, message)
    }
    const digest = claims[0] ?? digestOf(contentOf(bytes, contentType))
    const parsed = parseManifest(bytes, contentType)
    const sent = parseMediaType(contentType)
    const mediaType = isManifestMediaType(sent) ? sent : parsed.mediaType
    return { manifest: { digest, mediaType, bytes }, parsed }
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error
    const message = `the manifest it sent for ${reference} is malformed: ${error.message}`
    throw unreadable(upstream, contentType, message, error)
  }
}

/**
 * Whether a manifest of this content type has this digest. Throws RegistryError MANIFEST_INVALID where it is signed
 * and its signatures say nonsense.
 */
function isDigestOf(digest: Digest, bytes: Uint8Array, contentType: string | undefined): boolean {
  const algorithm = digestAlgorithm(digest)
  return (
    digestOf(bytes, algorithm) === digest || digestOf(contentOf(bytes, contentType), algorithm) === digest
  )
}

/** Whether a manifest that is kept is still what its digest says. */
export function isIntact({ digest, bytes, mediaType }: ManifestRecord): boolean {
  try {
    return isDigestOf(digest, bytes, mediaType)
  } catch (error) {
    if (error instanceof RegistryError) return false
    throw error
  }
}

/** What a manifest's digest is of: its bytes, of a signed one without the signatures. */
function contentOf(bytes: Uint8Array, contentType: string | undefined): Uint8Array {
  const mediaType = parseMediaType(contentType)
  const mayBeSigned = mediaType === manifestMediaTypes.dockerSchema1Signed || !isManifestMediaType(mediaType)
  return (mayBeSigned && signedPayload(bytes)) || bytes
}
