import { crc32 } from 'node:zlib'
import type { Digest } from '../../../oci/digest.ts'
import type { Tag } from '../../../oci/reference.ts'
import type { CatalogVerbs, ManifestRecord, ManifestReference } from '../../catalog.ts'
import type { PinPattern } from '../../pins.ts'
import { localOrigin, originOf, type RepositoryKey } from '../../repository-key.ts'

/** A manifest is in a local repository, which holds all that is listed, and these tags point at it. */
export interface ManifestPut extends Omit<ManifestRecord, 'bytes'> {
  readonly put: RepositoryKey
  /** In base64. */
  readonly bytes: string
  readonly references: readonly ManifestReference[]
  /** With the milliseconds since the epoch at which each was set. */
  readonly tags: readonly (readonly [Tag, number])[]
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly mover?: string | undefined
  /** Since then nothing has carried it. */
  readonly idleSince?: number | undefined
}

/** A change to what was pushed here, of which nobody else can tell. */
export type PushedChange =
  | ManifestPut
  | { readonly deletedFrom: RepositoryKey; readonly digest: Digest; readonly at: number }
  | { readonly untagged: RepositoryKey; readonly tag: Tag }
  /** What is wanted for ever is somebody's decision, as a push is. */
  | { readonly pin: PinPattern; readonly at: number }
  | { readonly unpin: PinPattern }

/** A change and its number; without one it is a part of what was there before the first change of the file. */
export type Numbered = PushedChange & { readonly number?: number | undefined }

/** A verb, what it was given, and what it answered. */
interface Done {
  readonly verb: keyof CatalogVerbs
  readonly parameters: readonly unknown[]
  readonly result: unknown
}

/** What a verb has changed of what was pushed here; undefined where that is nothing. */
export function changeBy({ verb, parameters, result }: Done): PushedChange | undefined {
  const given = parameters as never
  switch (verb) {
    case 'putManifest':
      return (result as readonly Digest[]).length === 0 ? putBy(...(given as Put)) : undefined
    case 'deleteTag': {
      const [untagged, tag] = given as Parameters<CatalogVerbs['deleteTag']>
      return result === true && isLocal(untagged) ? { untagged, tag } : undefined
    }
    case 'deleteManifest':
    case 'deleteBlob':
    case 'letGo': {
      const [deletedFrom, digest, at = Date.now()] = given as Parameters<CatalogVerbs['letGo']>
      // Of the collector `kept` need not mean that it took anything away; what it did is idle again, and goes again.
      const isDone =
        result === 'deleted' || result === 'unlink' || (verb === 'deleteBlob' && result === 'kept')
      return isDone && isLocal(deletedFrom) ? { deletedFrom, digest, at } : undefined
    }
    case 'pin': {
      const [pin, at] = given as Parameters<CatalogVerbs['pin']>
      return { pin, at }
    }
    case 'unpin':
      return result === true ? { unpin: given[0] } : undefined
    default:
      return undefined
  }
}

function isLocal(repository: RepositoryKey): boolean {
  return originOf(repository) === localOrigin
}

type Put = Parameters<CatalogVerbs['putManifest']>

function putBy(repository: RepositoryKey, { digest, mediaType, bytes }: Put[1], put: Put[2]): ManifestPut {
  const { references, tags, at, mover } = put
  return {
    put: repository,
    digest,
    mediaType,
    bytes: Buffer.from(bytes).toString('base64'),
    references,
    tags: tags.map((tag) => [tag, at] as const),
    at,
    mover,
  }
}

/** A line of text with its checksum in front. */
export function lineOf(text: string): string {
  return `${checksumOf(text)} ${text}\n`
}

/** What a line holds, without its end; undefined where its bytes are not those that were written. */
export function textIn(line: Buffer): string | undefined {
  const text = line.toString('utf8', 9)
  return line.toString('latin1', 0, 9) === `${checksumOf(text)} ` ? text : undefined
}

function checksumOf(text: string): string {
  return crc32(text).toString(16).padStart(8, '0')
}
