import { type Digest, parseDigest } from '../oci/digest.ts'
import { RegistryError } from '../oci/error.ts'
import { parseReference, type Reference } from '../oci/reference.ts'

/** What a URL below `/v2/` asks for. `name` is as the client wrote it: an upstream's name may lead it. */
export type RegistryTarget =
  | { readonly kind: 'base' }
  | { readonly kind: 'manifest'; readonly name: string; readonly reference: Reference }
  | { readonly kind: 'blob'; readonly name: string; readonly digest: Digest }
  | { readonly kind: 'tags'; readonly name: string }
  | { readonly kind: 'referrers'; readonly name: string; readonly digest: Digest }
  | { readonly kind: 'unknown' }

export interface RegistryUrl {
  readonly target: RegistryTarget
  /** `?ns=`: the registry that the client wants this from (distribution-spec "Registry Proxying"). */
  readonly namespace: string | undefined
  readonly query: URLSearchParams
}

/**
 * Reads the raw URL of a request below `/v2/`. Names contain slashes, so that no router's parameters fit; and
 * nothing legal needs an escape, so that "%" is refused before anybody decodes it (CVE-2024-4956). Throws
 * RegistryError NAME_INVALID, TAG_INVALID or DIGEST_INVALID (400).
 */
export function parseRegistryUrl(rawUrl: string): RegistryUrl {
  const mark = rawUrl.indexOf('?')
  const path = mark < 0 ? rawUrl : rawUrl.slice(0, mark)
  const query = new URLSearchParams(mark < 0 ? '' : rawUrl.slice(mark + 1))
  if (!/^\/v2[a-zA-Z0-9._:/-]*$/.test(path)) {
    throw new RegistryError('NAME_INVALID', 'the path has characters that no repository, tag or digest has')
  }
  const namespaces = query.getAll('ns')
  if (namespaces.length > 1) throw new RegistryError('NAME_INVALID', 'ns is given more than once')
  return { target: parseTarget(path), namespace: namespaces[0], query }
}

function parseTarget(path: string): RegistryTarget {
  const parts = path.replace(/^\/v2\/?/, '').split('/')
  if (parts.length === 1 && parts[0] === '') return { kind: 'base' }
  const [before, last] = parts.slice(-2)
  const name = parts.slice(0, -2).join('/')
  if (name === '' || last === undefined) return { kind: 'unknown' }
  if (before === 'manifests') return { kind: 'manifest', name, reference: parseReference(last) }
  if (before === 'blobs') return { kind: 'blob', name, digest: parseDigest(last) }
  if (before === 'referrers') return { kind: 'referrers', name, digest: parseDigest(last) }
  if (before === 'tags' && last === 'list') return { kind: 'tags', name }
  return { kind: 'unknown' }
}
