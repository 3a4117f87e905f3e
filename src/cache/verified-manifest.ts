import { digestAlgorithm, digestOf } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { type ParsedManifest, parseManifest } from '../oci/manifest.ts'
import { isManifestMediaType, parseMediaType } from '../oci/media-type.ts'
import { isDigestReference, type Reference } from '../oci/reference.ts'
import type { ManifestRecord } from '../storage/catalog.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { FetchedManifest } from '../upstream/registry-client.ts'

/**
 * Nothing an upstream claims is believed: the digest is that of the bytes, and must be the one that was asked for
 * and the one of the header; the content type must agree with the body. Throws UpstreamError INVALID_RESPONSE.
 */
export function verifyManifest(
  upstream: string,
  reference: Reference,
  { bytes, contentType, claimedDigest }: FetchedManifest,
): { manifest: ManifestRecord; parsed: ParsedManifest } {
  const expected = isDigestReference(reference) ? reference : claimedDigest
  const digest = digestOf(bytes, expected && digestAlgorithm(expected))
  const isClaimWrong =
    claimedDigest !== undefined && digestOf(bytes, digestAlgorithm(claimedDigest)) !== claimedDigest
  if ((expected && digest !== expected) || isClaimWrong) {
    const message = `the manifest it sent for ${reference} is ${digest}, not ${expected ?? claimedDigest}`
    throw new UpstreamError('INVALID_RESPONSE', upstream, message)
  }
  try {
    const parsed = parseManifest(bytes, contentType)
    const sent = parseMediaType(contentType)
    const mediaType = isManifestMediaType(sent) ? sent : parsed.mediaType
    return { manifest: { digest, mediaType, bytes }, parsed }
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error
    const message = `the manifest it sent for ${reference} is malformed: ${error.message}`
    throw new UpstreamError('INVALID_RESPONSE', upstream, message, { cause: error })
  }
}
