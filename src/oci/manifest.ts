import { type Digest, isDigest } from './digest.ts'
import { RegistryError } from './error.ts'
import { foldedKeys } from './folded-keys.ts'
import { isJsonObject, type JsonObject, parseJsonObject, textOf } from './json.ts'
import {
  isIndexMediaType,
  isManifestMediaType,
  isSchema1MediaType,
  manifestMediaTypes,
  parseMediaType,
} from './media-type.ts'
import { isTag, type Tag } from './reference.ts'

/** What an index says about the machine that a manifest is for (image-spec, "Image Index"). */
interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
}

/** A typed reference to content (image-spec, "Content Descriptors"). Its `urls` are never kept. */
interface Descriptor {
  /** Lower-case, without parameters; `application/octet-stream` where the manifest has no valid one. */
  readonly mediaType: string
  readonly digest: Digest
  /** Bytes; unknown only for the layers of a Docker schema 1 manifest. */
  readonly size: number | undefined
  readonly platform?: Platform
}

/** What a manifest refers to. An index has no `blobs`, any other manifest has no `manifests`. */
export interface ParsedManifest {
  /** Lower-case, without parameters. */
  readonly mediaType: string
  readonly manifests: readonly Descriptor[]
  /** The config first, if there is one, then the layers in their order. */
  readonly blobs: readonly Descriptor[]
  readonly config: Descriptor | undefined
  /** The manifest that this one is about (distribution-spec, "Listing Referrers"). */
  readonly subject: Descriptor | undefined
  /** What it is to its subject: its own type of artifact, else the type of its config (end-12). */
  readonly artifactType: string | undefined
}

/** Bytes; the size of manifest that the distribution-spec asks registries to accept at least. */
export const maximumManifestBytes = 4 * 1024 * 1024

/** What the fields of a manifest make of it, whatever its media type says. */
type Shape = 'index' | 'image' | 'schema1'

const mediaTypeByShape = {
  index: manifestMediaTypes.ociIndex,
  image: manifestMediaTypes.ociManifest,
  schema1: manifestMediaTypes.dockerSchema1,
} as const

/**
 * Reads the descriptors of a manifest or an index (image-spec), and settles its media type: the Content-Type if it
 * is that of a manifest, else the `mediaType` of the body, else what the fields tell.
 * Throws RegistryError MANIFEST_INVALID: 413 for more than `maximumManifestBytes`; 400 for anything else that is
 * not a manifest, and for one that two clients could take for different things (CVE-2021-41190).
 */
export function parseManifest(bytes: Uint8Array, contentType: string | undefined): ParsedManifest {
  if (bytes.length > maximumManifestBytes) {
    throw new RegistryError(
      'MANIFEST_INVALID',
      `The manifest has ${bytes.length} bytes, more than the maximum of ${maximumManifestBytes}`,
      { status: 413 },
    )
  }
  const body = parseJsonObject(bytes, invalid)
  assertUnambiguous(body)
  const shape = shapeOf(body)
  const mediaType = settleMediaType(body, parseMediaType(contentType), shape)
  const isSchema1 = shape === 'schema1'
  const config = isSchema1 ? undefined : optional(body, 'config').map(parseDescriptor)[0]
  const layers = isSchema1
    ? list(body, 'fsLayers').map(parseSchema1Layer)
    : list(body, 'layers').map(parseDescriptor)
  return {
    mediaType,
    manifests: list(body, 'manifests').map(parseDescriptor),
    blobs: config ? [config, ...layers] : layers,
    config,
    subject: optional(body, 'subject').map(parseDescriptor)[0],
    artifactType: parseMediaType(textOf(body.artifactType)) ?? config?.mediaType,
  }
}

/**
 * Reads the answer to GET tags/list (distribution-spec end-8a) of an upstream. Entries that are not valid tags are
 * dropped; `null`, as Go servers write it, means none. The caller limits the size.
 * Throws RegistryError UNKNOWN (502) for anything that is not a tag list.
 */
export function parseTagList(bytes: Uint8Array): { tags: Tag[] } {
  const fail = (problem: string, cause?: unknown) =>
    new RegistryError('UNKNOWN', `The tag list of the upstream ${problem}`, { status: 502, cause })
  const { name, tags } = parseJsonObject(bytes, fail)
  if (typeof name !== 'string') throw fail('has no name')
  if (tags === null) return { tags: [] }
  if (!Array.isArray(tags)) throw fail('has no list of tags')
  return { tags: tags.filter((tag): tag is Tag => typeof tag === 'string' && isTag(tag)) }
}

function invalid(problem: string, cause?: unknown): RegistryError {
  return new RegistryError('MANIFEST_INVALID', `The manifest ${problem}`, { cause })
}

/** Clients differ in which of two keys they take that differ by case alone. */
function assertUnambiguous(object: JsonObject): void {
  const odd = foldedKeys(object).find(({ meant }) => object[meant] !== undefined)
  if (odd)
    throw invalid(`has both ${JSON.stringify(odd.key)} and ${odd.meant}, which some clients take for one`)
}

function shapeOf(body: JsonObject): Shape | undefined {
  const has = (key: string) => body[key] !== undefined && body[key] !== null
  const shapes: Shape[] = []
  if (has('manifests')) shapes.push('index')
  if (has('config') || has('layers')) shapes.push('image')
  if (has('fsLayers')) shapes.push('schema1')
  if (shapes.length > 1) throw invalid('has fields of more than one kind of manifest')
  return shapes[0]
}

function settleMediaType(body: JsonObject, announced: string | undefined, shape: Shape | undefined): string {
  const declared = declaredMediaType(body)
  const both = isManifestMediaType(announced) && isManifestMediaType(declared)
  if (both && announced !== declared) {
    throw invalid(`says that it is ${declared}, but its Content-Type is ${announced}`)
  }
  const mediaType = isManifestMediaType(announced) ? announced : (declared ?? deducedMediaType(body, shape))
  if (mediaType === undefined) throw invalid('has neither a media type nor fields to tell it by')
  if (shape !== undefined && isManifestMediaType(mediaType) && shapeOfMediaType(mediaType) !== shape) {
    throw invalid(`has the fields of another kind of manifest than ${mediaType}`)
  }
  return mediaType
}

function declaredMediaType(body: JsonObject): string | undefined {
  const { mediaType } = body
  if (mediaType === undefined || mediaType === null || mediaType === '') return undefined
  const parsed = typeof mediaType === 'string' ? parseMediaType(mediaType) : undefined
  if (parsed === undefined) throw invalid('has a mediaType that is not a media type')
  return parsed
}

function deducedMediaType(body: JsonObject, shape: Shape | undefined): string | undefined {
  if (shape === 'schema1' && Array.isArray(body.signatures)) return manifestMediaTypes.dockerSchema1Signed
  return shape && mediaTypeByShape[shape]
}

function shapeOfMediaType(mediaType: string): Shape {
  if (isIndexMediaType(mediaType)) return 'index'
  return isSchema1MediaType(mediaType) ? 'schema1' : 'image'
}

/** The elements of an array; `null`, as Go writes an empty one, is none. */
function list(body: JsonObject, key: string): unknown[] {
  const value = body[key] ?? []
  if (!Array.isArray(value)) throw invalid(`has ${key} that are not an array`)
  return value
}

function optional(body: JsonObject, key: string): unknown[] {
  const value = body[key] ?? undefined
  return value === undefined ? [] : [value]
}

function parseDescriptor(value: unknown): Descriptor {
  if (!isJsonObject(value)) throw invalid('has a descriptor that is not an object')
  assertUnambiguous(value)
  const { size } = value
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalid('has a descriptor whose size is not a non-negative integer below 2^53')
  }
  const platform = parsePlatform(value.platform)
  return {
    mediaType: parseMediaType(textOf(value.mediaType)) ?? 'application/octet-stream',
    digest: parseContentDigest(value.digest),
    size,
    ...(platform && { platform }),
  }
}

function parseSchema1Layer(value: unknown): Descriptor {
  const digest = parseContentDigest(isJsonObject(value) ? value.blobSum : undefined)
  return { mediaType: 'application/octet-stream', digest, size: undefined }
}

function parseContentDigest(value: unknown): Digest {
  if (typeof value === 'string' && isDigest(value)) return value
  throw invalid(`has a descriptor with an invalid digest: ${JSON.stringify(textOf(value)?.slice(0, 150))}`)
}

/** Undefined where the platform is absent or lacks what one is chosen by. */
function parsePlatform(value: unknown): Platform | undefined {
  if (!isJsonObject(value)) return undefined
  assertUnambiguous(value)
  const [os, architecture, variant] = [textOf(value.os), textOf(value.architecture), textOf(value.variant)]
  if (os === undefined || architecture === undefined) return undefined
  return { os, architecture, ...(variant !== undefined && { variant }) }
}
