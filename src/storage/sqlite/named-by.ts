import type { DatabaseSync } from 'node:sqlite'
import { RegistryError } from '../../oci/error.ts'
import { parseManifest } from '../../oci/manifest.ts'
import type { ManifestReference } from '../catalog.ts'
import { referencesOf } from '../manifest-references.ts'
import { digestToBytes } from './digest-bytes.ts'

/** A manifest of a repository. */
interface StoredManifest {
  /** Its row. */
  readonly repository: number
  readonly digest: Uint8Array
  readonly mediaType: string
  readonly bytes: Uint8Array
}

/**
 * Records what manifests that are stored name, where it is not recorded. Returns the repositories of those that cannot
 * be read.
 */
export function addReferences(database: DatabaseSync, manifests: Iterable<StoredManifest>): Set<number> {
  const unread = new Set<number>()
  const add = database.prepare(
    'INSERT OR IGNORE INTO reference (repository, target, kind, manifest, size, artifact_type) VALUES (?, ?, ?, ?, ?, ?)',
  )
  for (const { repository, digest, mediaType, bytes } of manifests) {
    const references = namedBy(bytes, mediaType)
    if (!references) unread.add(repository)
    for (const { target, kind, size, artifactType } of references ?? []) {
      add.run(repository, digestToBytes(target), kind, digest, size ?? null, artifactType ?? null)
    }
  }
  return unread
}

/** Undefined where it is no manifest. */
function namedBy(bytes: Uint8Array, mediaType: string): ManifestReference[] | undefined {
  try {
    return referencesOf(parseManifest(bytes, mediaType))
  } catch (error) {
    if (error instanceof RegistryError) return undefined
    throw error
  }
}
