import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import type { Tag } from '../../src/oci/reference.ts'
import { parseRepositoryName } from '../../src/oci/repository-name.ts'
import type { Catalog, ManifestReference } from '../../src/storage/catalog.ts'
import { localOrigin, type RepositoryKey, repositoryKey } from '../../src/storage/repository-key.ts'

/** A catalog under test, empty at first. `t.after` closes what is open at the end. */
export interface OpenedCatalog {
  readonly catalog: Catalog
  /** Closes it and opens what it left, as a later process does. */
  readonly reopen: () => Promise<Catalog>
}

export type OpenCatalog = (t: TestContext) => Promise<OpenedCatalog>

export function repositoryOf(origin: string, name: string): RepositoryKey {
  return repositoryKey(origin, parseRepositoryName(name))
}

export function manifestOf(text: string, mediaType = 'application/vnd.oci.image.manifest.v1+json') {
  const bytes = new Uint8Array(Buffer.from(text))
  return { digest: digestOf(bytes), mediaType, bytes }
}

export function blobOf(text: string) {
  return digestOf(Buffer.from(text))
}

/** A manifest's reference to a layer of that text. */
export function layerOf(text: string, size = text.length): ManifestReference {
  return { target: blobOf(text), kind: 'layer', size }
}

/** What is recorded of a sealed file of this size. */
export function fileOf(size: number) {
  return { size, mtime: 1_900_000_000_123, inode: size + 7 }
}

export const alpine = repositoryOf('docker.io', 'library/alpine')
export const app = repositoryOf(localOrigin, 'app')
export const one = manifestOf('{"one":1}')
export const two = manifestOf('{"two":2}')
export const latest = 'latest' as Tag

/** Asked as anyone at that time. */
export function anyone(at: number) {
  return { as: 'anyone', at } as const
}

/** An upstream gave a manifest to anyone, and that tag for it. */
export async function pull(
  catalog: Catalog,
  repository: RepositoryKey,
  manifest = one,
  at = 1,
  tag?: string,
) {
  await catalog.pulled(repository, manifest, { ...anyone(at), tag: tag as Tag | undefined, references: [] })
}

export const other = repositoryOf(localOrigin, 'other')
export const layer = blobOf('layer')
export const put = { references: [layerOf('layer')], tags: [latest], at: 100 }

/** A push of `one` with its layer. */
export async function push(catalog: Catalog, repository: RepositoryKey = app): Promise<void> {
  await catalog.pushed(repository, layer, fileOf(5), 50)
  assert.deepEqual(await catalog.putManifest(repository, one, put), [])
}
