import { type Digest, digestAlgorithm, digestHex, isDigest } from './digest.ts'
import { RegistryError } from './error.ts'
import { isJsonObject, type JsonObject, parseJsonObject, textOf } from './json.ts'
import { maximumManifestBytes, parseManifest } from './manifest.ts'
import { isIndexMediaType, manifestMediaTypes, parseMediaType } from './media-type.ts'
import type { Tag } from './reference.ts'

/** A manifest that refers to another one (image-spec "Content Descriptors"); never its `urls` or `data`. */
export interface Referrer {
  readonly mediaType: string
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
  readonly platform?: Readonly<Record<string, string | readonly string[]>>
}

/** Characters (RFC 6838 4.2). */
const maximumMediaTypeLength = 255

/**
 * Reads an index of referrers (distribution-spec "Listing Referrers"), be it the answer of the API or what the tag
 * of the referrers tag schema points at. Entries that are no descriptors are dropped, and so is each field that the
 * specification does not have; `null`, as Go writes an empty list, is none. The caller limits the size.
 * Throws RegistryError UNKNOWN (502) for anything that is not an index.
 */
export function parseReferrers(bytes: Uint8Array): Referrer[] {
  const fail = (problem: string, cause?: unknown) =>
    new RegistryError('UNKNOWN', `The list of referrers of the upstream ${problem}`, { status: 502, cause })
  const { mediaType, manifests } = parseJsonObject(bytes, fail)
  // Some write an empty one where there is none.
  if (mediaType !== undefined && mediaType !== '' && !isIndexMediaType(parseMediaType(textOf(mediaType)))) {
    throw fail('is not an index')
  }
  if (manifests === null) return []
  if (!Array.isArray(manifests)) throw fail('has no list of manifests')
  return mergeReferrers(manifests.flatMap((value) => parseReferrer(value) ?? []))
}

/** All of them in order, each digest once: the first one counts. */
export function mergeReferrers(...lists: readonly (readonly Referrer[])[]): Referrer[] {
  const byDigest = new Map<Digest, Referrer>()
  for (const referrer of lists.flat()) {
    if (!byDigest.has(referrer.digest)) byDigest.set(referrer.digest, referrer)
  }
  return [...byDigest.values()]
}

/** Those of one of these types; all where no type is given. */
export function filterReferrers(
  referrers: readonly Referrer[],
  artifactTypes: readonly string[],
): readonly Referrer[] {
  if (artifactTypes.length === 0) return referrers
  return referrers.filter(({ artifactType }) => isOfType(artifactType, artifactTypes))
}

/** Whether an artifact is of one of these types; whatever it is where none is given. */
export function isOfType(artifactType: string | undefined, wanted: readonly string[]): boolean {
  const type = artifactType?.toLowerCase()
  return wanted.length === 0 || wanted.some((one) => one.toLowerCase() === type)
}

/**
 * A manifest as its subject's list shows it: with its own type of artifact and annotations. Throws RegistryError
 * MANIFEST_INVALID (400) for what is no manifest.
 */
export function referrerOf(bytes: Uint8Array, mediaType: string, digest: Digest): Referrer {
  const { artifactType } = parseManifest(bytes, mediaType)
  const body = parseJsonObject(bytes, (problem) => new RegistryError('MANIFEST_INVALID', problem))
  const annotations = isJsonObject(body.annotations) ? onlyTexts(body.annotations) : undefined
  return {
    mediaType,
    digest,
    size: bytes.length,
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations && { annotations }),
  }
}

/** The tag under which registries without the API keep a manifest's referrers ("Referrers Tag Schema"). */
export function referrersTag(subject: Digest): Tag {
  return `${digestAlgorithm(subject)}-${digestHex(subject).slice(0, 64)}` as Tag
}

const indexHead = `{"schemaVersion":2,"mediaType":"${manifestMediaTypes.ociIndex}","manifests":[`

/** What one answer holds of a list (end-12): clients read no more than 4 MiB of one. */
export class ReferrerPage {
  readonly referrers: Referrer[] = []
  /** Of the answer. */
  #bytes = indexHead.length + 2

  /** False where it has no more room, which it has for the first one whatever its size. */
  add(referrer: Referrer): boolean {
    const bytes = this.#bytes + Buffer.byteLength(JSON.stringify(referrer)) + 1
    if (bytes > maximumManifestBytes && this.referrers.length > 0) return false
    this.#bytes = bytes
    this.referrers.push(referrer)
    return true
  }
}

/**
 * A page of a list that is here as a whole: from where `from` says on, which is what `next` was of the page before.
 * Throws RegistryError PAGINATION_NUMBER_INVALID (400) for what is none.
 */
export function pageOfReferrers(
  all: readonly Referrer[],
  from: string | undefined,
): { readonly referrers: readonly Referrer[]; readonly next: string | undefined } {
  if (from !== undefined && !/^\d{1,7}$/.test(from)) throw noSuchPage()
  const page = new ReferrerPage()
  const start = Number(from ?? 0)
  const end = all.findIndex((referrer, index) => index >= start && !page.add(referrer))
  return { referrers: page.referrers, next: end < 0 ? undefined : String(end) }
}

/** What is told where a page is asked for that no link led to. */
export function noSuchPage(): RegistryError {
  return new RegistryError('PAGINATION_NUMBER_INVALID', 'there is no such page: begin with the first one')
}

/** The index that a client gets. */
export function formatReferrers(referrers: readonly Referrer[]): Buffer {
  return Buffer.from(`${indexHead}${referrers.map((referrer) => JSON.stringify(referrer)).join()}]}`)
}

function parseReferrer(value: unknown): Referrer | undefined {
  if (!isJsonObject(value)) return undefined
  const mediaType = asMediaType(value.mediaType)
  const digest = textOf(value.digest)
  const { size } = value
  if (mediaType === undefined || digest === undefined || !isDigest(digest)) return undefined
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) return undefined
  const artifactType = asMediaType(value.artifactType)
  const annotations = isJsonObject(value.annotations) ? onlyTexts(value.annotations) : undefined
  const platform = isJsonObject(value.platform) ? parsePlatform(value.platform) : undefined
  return {
    mediaType,
    digest,
    size,
    ...(artifactType !== undefined && { artifactType }),
    ...(annotations && { annotations }),
    ...(platform && { platform }),
  }
}

/** As it is: clients compare it to the letter. */
function asMediaType(value: unknown): string | undefined {
  const text = textOf(value)
  return parseMediaType(text) !== undefined && (text?.length ?? 0) <= maximumMediaTypeLength
    ? text
    : undefined
}

function onlyTexts(object: JsonObject): Record<string, string> {
  const entries = Object.entries(object).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  )
  return Object.fromEntries(entries)
}

/** Undefined where it lacks what the specification requires. */
function parsePlatform(object: JsonObject): Referrer['platform'] {
  const { architecture, os, variant, 'os.version': version, 'os.features': features } = object
  if (textOf(architecture) === undefined || textOf(os) === undefined) return undefined
  const texts = onlyTexts({ architecture, os, variant, 'os.version': version })
  const names = Array.isArray(features) ? features.filter((name) => typeof name === 'string') : []
  return names.length > 0 ? { ...texts, 'os.features': names } : texts
}
