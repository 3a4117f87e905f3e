import { type Digest, parseDigest } from '../oci/digest.ts'
import { RegistryError, type RegistryErrorCode } from '../oci/error.ts'
import { parseReference, type Reference } from '../oci/reference.ts'
import { percentDecode } from './percent-decode.ts'

/** What a URL below `/v2/`, or `/v1/` where somebody searches, asks for. `name` is as the client wrote it: an upstream's name may lead it. */
export type RegistryTarget =
  | { readonly kind: 'base' }
  | { readonly kind: 'manifest'; readonly name: string; readonly reference: Reference }
  | { readonly kind: 'blob'; readonly name: string; readonly digest: Digest }
  | { readonly kind: 'uploads'; readonly name: string }
  | { readonly kind: 'upload'; readonly name: string; readonly id: string }
  | { readonly kind: 'tags'; readonly name: string }
  | { readonly kind: 'referrers'; readonly name: string; readonly digest: Digest }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'ping' }
  | { readonly kind: 'search' }
  | { readonly kind: 'unknown' }

/** What a URL of this kind names, such as the digest of a blob. */
export type TargetOf<Kind extends RegistryTarget['kind']> = Extract<RegistryTarget, { kind: Kind }>

/** The kinds of things in a repository. */
export type RepositoryKind = Extract<RegistryTarget, { name: string }>['kind']

export interface RegistryUrl {
  readonly target: RegistryTarget
  /** The path as the client wrote it, for links to the next page. */
  readonly path: string
  /** What stands in front of `/v2/`, without slashes: the name of a registry, where the client's mirror address has a path. */
  readonly prefix: string | undefined
  /** `?ns=`: the registry that the client wants this from (distribution-spec "Registry Proxying"). */
  readonly namespace: string | undefined
  readonly query: URLSearchParams
}

/** What `docker search` asks (Docker's registry API v1), of which nothing else is here. */
const searching = /^(?:\/([^/?]+))?\/v1\/(?:_(ping)|(search))(?:\?|$)/

/** Whether a raw URL is one of a registry: `/v2/...`, `/v1/search`, or the same below one more part. */
export function isRegistryUrl(rawUrl: string): boolean {
  return /^(?:\/[^/?]+)?\/v2(?:[/?]|$)/.test(rawUrl) || searching.test(rawUrl)
}

/**
 * Reads the raw URL of a request for which `isRegistryUrl` holds. Names contain slashes, so that no router's
 * parameters fit; and the path is decoded once, here, part by part and only into what a name, a tag or a digest can
 * hold (CVE-2024-4956). Throws RegistryError NAME_INVALID (400) for a path that is none, MANIFEST_UNKNOWN (404) for
 * what is no tag, DIGEST_INVALID (400).
 */
export function parseRegistryUrl(rawUrl: string): RegistryUrl {
  const mark = rawUrl.indexOf('?')
  const path = mark < 0 ? rawUrl : rawUrl.slice(0, mark)
  const query = new URLSearchParams(mark < 0 ? '' : rawUrl.slice(mark + 1))
  const namespaces = [...new Set(query.getAll('ns'))]
  if (namespaces.length > 1) throw new RegistryError('NAME_INVALID', 'ns is given more than once')
  const { prefix, target } = partsOf(path)
  if (prefix?.includes('/')) {
    throw new RegistryError(
      'NAME_INVALID',
      'what stands in front of /v2/ is one name, without a slash, escaped or not',
    )
  }
  return { target: target(), path, prefix, namespace: namespaces[0], query }
}

/** What stands in front, and what is asked for, which throws as `parseRegistryUrl`. */
function partsOf(path: string): {
  readonly prefix: string | undefined
  readonly target: () => RegistryTarget
} {
  const [isSearching, before, ping] = searching.exec(path) ?? []
  if (isSearching !== undefined) {
    const prefix = before === undefined ? undefined : percentDecode(before)
    return { prefix, target: () => ({ kind: ping === undefined ? 'search' : 'ping' }) }
  }
  const { prefix, parts } = splitPath(path)
  return { prefix, target: () => parseTarget(parts) }
}

/** The parts behind `/v2/`, and what stands in front of it. */
function splitPath(path: string): { prefix: string | undefined; parts: string[] } {
  const [, ...all] = path.split('/').map(percentDecode)
  const start = all[0] === 'v2' ? 0 : 1
  const parts = all.slice(start + 1)
  // Docker asks `/v2/` below whatever its mirror's address has as path, also where that ends in `/v2/<registry>`.
  const [one, other, ...more] = parts.filter((part) => part !== '')
  if (start === 0 && more.length === 0) {
    if (one === 'v2' && other === undefined) return { prefix: undefined, parts: [] }
    if (other === 'v2') return { prefix: one, parts: [] }
  }
  return { prefix: start === 0 ? undefined : all[0], parts }
}

function parseTarget(parts: readonly string[]): RegistryTarget {
  if (parts.length === 0 || (parts.length === 1 && parts[0] === '')) return { kind: 'base' }
  if (parts.length === 1 && parts[0] === '_catalog') return { kind: 'catalog' }
  const [before, last] = parts.slice(-2)
  const nameParts = parts.slice(0, -2)
  const name = nameParts.join('/')
  const uploads = parseUploads(parts)
  if (uploads) return uploads
  if (name === '' || last === undefined) return { kind: 'unknown' }
  // An escaped slash belongs to the name, as clients write that encode it whole; nowhere else is a place for one.
  if (last.includes('/')) {
    throw new RegistryError('NAME_INVALID', 'a tag or a digest has no slash, escaped or not')
  }
  if (before === 'manifests') {
    try {
      return { kind: 'manifest', name, reference: parseReference(last) }
    } catch (error) {
      throw asAbsent('MANIFEST_UNKNOWN', error)
    }
  }
  if (before === 'blobs') return { kind: 'blob', name, digest: parseDigest(last) }
  if (before === 'referrers') return { kind: 'referrers', name, digest: parseDigest(last) }
  if (before === 'tags' && last === 'list') return { kind: 'tags', name }
  return { kind: 'unknown' }
}

/** `<name>/blobs/uploads/`, also without the last slash, and `<name>/blobs/uploads/<id>`. */
function parseUploads(parts: readonly string[]): RegistryTarget | undefined {
  const end = parts.at(-1) === 'uploads' ? parts.length : parts.length - 1
  const [blobs, uploads] = parts.slice(end - 2, end)
  const name = parts.slice(0, end - 2).join('/')
  if (blobs !== 'blobs' || uploads !== 'uploads' || name === '') return undefined
  const id = parts[end] ?? ''
  return id === '' ? { kind: 'uploads', name } : { kind: 'upload', name, id }
}

/**
 * What nothing can be called is not there: whoever reads gets a 404 with `code` and the sentence that tells what is
 * wrong with it. A digest is computed by a program, and a malformed one stays DIGEST_INVALID (400).
 */
export function asAbsent(code: RegistryErrorCode, error: unknown): unknown {
  if (!(error instanceof RegistryError) || !/^(?:NAME|TAG)_INVALID$/.test(error.code)) return error
  return new RegistryError(code, error.message, { status: 404, cause: error })
}
