import { isDigestOf } from '../oci/claimed-manifest.ts'
import type { DocumentReader } from '../oci/document-reader.ts'
import { RegistryError } from '../oci/error.ts'
import type { ParsedManifest } from '../oci/manifest.ts'
import { isDigestReference, type Reference } from '../oci/reference.ts'
import type { ManifestRecord } from '../storage/catalog.ts'
import { UpstreamError } from '../upstream/error.ts'
import type { FetchedManifest } from '../upstream/fetched-manifest.ts'
import { unreadable } from '../upstream/web-page.ts'
import type { UpstreamRepository } from './upstream-repository.ts'

/**
 * Nothing an upstream claims is believed: the digest is that of the bytes, and must be the one that was asked for
 * and the one of the header; the content type must agree with the body. Throws UpstreamError INVALID_RESPONSE.
 */
export async function verifyManifest(
  documents: DocumentReader,
  upstream: string,
  reference: Reference,
  { bytes, contentType, claimedDigest, askedDigest }: FetchedManifest,
): Promise<{ manifest: ManifestRecord; parsed: ParsedManifest }> {
  const asked = isDigestReference(reference) ? reference : undefined
  const claims = [asked, askedDigest, claimedDigest].filter((claim) => claim !== undefined)
  const read = await documents.read('claimed', bytes, contentType, claims).catch((error: unknown) => {
    if (!(error instanceof RegistryError)) throw error
    const message = `the manifest it sent for ${reference} is malformed: ${error.message}`
    throw unreadable(upstream, contentType, message, error)
  })
  if ('wrong' in read) {
    const message = `the manifest it sent for ${reference} is ${read.found}, not ${read.wrong}`
    throw unreadable(upstream, contentType, message)
  }
  const { digest, mediaType, parsed } = read
  return { manifest: { digest, mediaType, bytes }, parsed }
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

/** What only the account is shown is kept as that, and given to nobody. */
export function shownToAccount({ name, upstream }: UpstreamRepository): UpstreamError {
  const message = `it shows this of ${name} to the account alone, and this mirror serves only what everybody may read`
  return new UpstreamError('UNAUTHORIZED', upstream.name, message)
}
