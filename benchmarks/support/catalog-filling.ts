import { createHash } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'
import type { Digest } from '../../src/oci/digest.ts'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { localOrigin, type RepositoryKey, repositoryKey } from '../../src/storage/repository-key.ts'

/** How much there is of everything. */
export interface Filling {
  /** Half of them mirrored from a public registry, half pushed here. */
  readonly repositories: number
  /** Of its own, in each repository; beside one that all have. */
  readonly blobs: number
  /** Of local blobs that no manifest needs. */
  readonly idle: number
  /** Repositories with `referrers` manifests about one subject. */
  readonly subjects: number
  readonly referrers: number
  /** In the repository that has most. */
  readonly tags: number
  /** Of a manifest. */
  readonly manifestBytes: number
}

export const baseLayer = digestOf('base')
const hub = 'docker.io'

export function repositoryAt(n: number): RepositoryKey {
  return repositoryKey(n % 2 ? localOrigin : hub, `team-${n % 1000}/app-${n}` as RepositoryName)
}

export function manifestAt(n: number): Digest {
  return digestOf(`manifest ${n}`)
}

export function blobAt(repository: number, n: number): Digest {
  return digestOf(`blob ${repository} ${n}`)
}

export function tagAt(n: number): Tag {
  return `v1.${n}` as Tag
}

function digestOf(text: string): Digest {
  return `sha256:${createHash('sha256').update(text).digest('hex')}` as Digest
}

function bytesOf(digest: Digest): Uint8Array {
  return Buffer.from(`01${digest.slice(7)}`, 'hex')
}

/** Fills an empty catalog in one go, as no verb does. `tell` hears of each tenth. */
export function fillCatalog(path: string, filling: Filling, tell: (text: string) => void): void {
  using database = new DatabaseSync(path)
  database.exec('PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; BEGIN')
  const add = {
    repository: database.prepare('INSERT INTO repository (id, origin, name) VALUES (?, ?, ?)'),
    manifest: database.prepare('INSERT INTO manifest VALUES (?, ?)'),
    holding: database.prepare(
      'INSERT INTO holding (repository, digest, media_type, public_at, local_at, idle_since) VALUES (?, ?, ?, ?, ?, ?)',
    ),
    reference: database.prepare('INSERT INTO reference VALUES (?, ?, ?, ?, ?, ?)'),
    tag: database.prepare('INSERT INTO tag VALUES (?, ?, ?, ?)'),
    blob: database.prepare('INSERT INTO blob VALUES (?, ?, ?, ?, ?, ?, ?)'),
  }
  const type = 'application/vnd.oci.image.manifest.v1+json'
  const body = Buffer.alloc(filling.manifestBytes, 'x')
  let idle = filling.idle
  add.blob.run(bytesOf(baseLayer), 30_000_000, 1, 1, 1, 1, 1)
  for (let n = 0; n < filling.repositories; n += 1) {
    if (n % Math.ceil(filling.repositories / 10) === 0) tell(`filling: ${n} repositories`)
    const isLocal = n % 2 === 1
    const [publicAt, localAt] = isLocal ? [null, n] : [n, null]
    const [id, manifest] = [n + 1, bytesOf(manifestAt(n))]
    add.repository.run(id, isLocal ? localOrigin : hub, `team-${n % 1000}/app-${n}`)
    add.manifest.run(manifest, body)
    add.holding.run(id, manifest, type, publicAt, localAt, null)
    add.holding.run(id, bytesOf(baseLayer), null, publicAt, localAt, null)
    add.reference.run(id, bytesOf(baseLayer), 'layer', manifest, 30_000_000, null)
    for (let tag = 0; tag < (n === 0 ? filling.tags : 3); tag += 1) add.tag.run(id, tagAt(tag), manifest, n)
    for (let one = 0; one < filling.blobs; one += 1) {
      const blob = bytesOf(blobAt(n, one))
      const isIdle = isLocal && one === 0 && idle > 0
      if (isIdle) idle -= 1
      // Used and verified in an order that has nothing to do with that of the digests.
      const [usedAt, verifiedAt] = [(n * 7919 + one) % 1_000_003, (n * 104_729 + one) % 1_000_003]
      add.blob.run(blob, 5_000_000, n, n, usedAt, verifiedAt, Number(isLocal))
      add.holding.run(id, blob, null, publicAt, localAt, isIdle ? n : null)
      if (!isIdle) add.reference.run(id, blob, one === 0 ? 'config' : 'layer', manifest, 5_000_000, null)
    }
    for (let one = 0; n < filling.subjects && one < filling.referrers; one += 1) {
      add.reference.run(id, manifest, 'subject', bytesOf(digestOf(`referrer ${n} ${one}`)), 700, 'a/b')
    }
  }
  database.exec('COMMIT; PRAGMA journal_mode = WAL')
}
