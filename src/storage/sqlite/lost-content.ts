import type { DatabaseSync } from 'node:sqlite'
import type { Digest } from '../../oci/digest.ts'
import { localOrigin } from '../repository-key.ts'
import { digestFromBytes } from './digest-bytes.ts'
import { openDatabase } from './open-database.ts'

/** An image that was pushed and cannot be used any more. */
export interface LostImage {
  /** As it is pulled: without an origin. */
  readonly repository: string
  readonly manifest: Digest
  readonly tags: readonly string[]
  /** Blobs that it needs and whose bytes are not here. */
  readonly blobs: readonly Digest[]
}

/** Vendors' layers are not told of: they are held only where somebody pushed them. */
const lacking = `SELECT name, manifest, target FROM reference JOIN repository ON id = reference.repository
  JOIN holding ON holding.repository = id AND holding.digest = target AND local_at IS NOT NULL
  WHERE origin = '${localOrigin}' AND kind IN ('config', 'layer')
    AND NOT EXISTS (SELECT 1 FROM blob WHERE blob.digest = target)
  ORDER BY name, manifest, target`
const tagsOf = `SELECT tag.name FROM tag JOIN repository ON id = repository
  WHERE origin = '${localOrigin}' AND repository.name = ? AND digest = ? ORDER BY tag.name`

/** Manifests have a media type here, unless their own bytes are lost. */
const withoutBytes = `SELECT DISTINCT digest FROM holding
  WHERE local_at IS NOT NULL AND media_type IS NULL AND NOT EXISTS (SELECT 1 FROM blob WHERE blob.digest = holding.digest)
  ORDER BY digest`

/** What was pushed and is recorded to have no bytes any more. Throws what SQLite says. */
export function lostDigests(database: DatabaseSync): Digest[] {
  return database
    .prepare(withoutBytes)
    .all()
    .map(({ digest }) => digestFromBytes(digest))
}

/** What was pushed and lacks bytes, by the catalog at `path`, which nobody writes to. Throws what SQLite says. */
export function lostImages(path: string): LostImage[] {
  using database = openDatabase(path)
  const tags = database.prepare(tagsOf)
  const found = new Map<string, LostImage & { blobs: Digest[] }>()
  for (const { name, manifest, target } of database.prepare(lacking).iterate()) {
    const [repository, digest] = [String(name), digestFromBytes(manifest)]
    const key = `${repository} ${digest}`
    const image = found.get(key) ?? {
      repository,
      manifest: digest,
      tags: tags.all(repository, manifest as Uint8Array).map((tag) => String(tag.name)),
      blobs: [],
    }
    image.blobs.push(digestFromBytes(target))
    found.set(key, image)
  }
  return [...found.values()]
}
