/** The media types of manifests: image-spec ("Media Types"), Docker's schema 2 and its deprecated schema 1. */
export const manifestMediaTypes = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerManifestList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerSchema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+json',
} as const

export type ManifestMediaType = (typeof manifestMediaTypes)[keyof typeof manifestMediaTypes]

const known: ReadonlySet<string> = new Set(Object.values(manifestMediaTypes))

/** The values of Accept to ask an upstream for a manifest with: all that we know, then whatever there is. */
export const manifestAccept: readonly string[] = [...known, '*/*']

const token = "[!#$%&'*+.^_`|~0-9a-z-]+"
const grammar = new RegExp(`^[ \\t]*(${token}/${token})[ \\t]*(?:;|$)`, 'i')

/** Tells whether `mediaType`, as parseMediaType returns it, is that of any manifest, an index included. */
export function isManifestMediaType(mediaType: string | undefined): mediaType is ManifestMediaType {
  return mediaType !== undefined && known.has(mediaType)
}

/** Tells whether `mediaType` is that of a manifest that lists manifests, not blobs. */
export function isIndexMediaType(mediaType: string | undefined): boolean {
  return mediaType === manifestMediaTypes.ociIndex || mediaType === manifestMediaTypes.dockerManifestList
}

/** Tells whether `mediaType` is that of a layer which nobody but its vendor may hand out, so that clients leave it out. */
export function isNondistributable(mediaType: string): boolean {
  return /^application\/vnd\.(?:oci\.image\.layer\.nondistributable|docker\.image\.rootfs\.foreign)\./.test(
    mediaType,
  )
}

/** Tells whether `mediaType` is that of Docker's schema 1, which knows neither sizes nor a config. */
export function isSchema1MediaType(mediaType: string | undefined): boolean {
  return (
    mediaType === manifestMediaTypes.dockerSchema1 || mediaType === manifestMediaTypes.dockerSchema1Signed
  )
}

/**
 * The type and subtype of a Content-Type in lower case, without parameters (RFC 9110 8.3.1).
 * Undefined where there is none or it is malformed; parameters are not looked at.
 */
export function parseMediaType(contentType: string | undefined): string | undefined {
  return grammar.exec(contentType ?? '')?.[1]?.toLowerCase()
}
