import { digestAlgorithm, digestOf } from '../../src/oci/digest.ts'
import type { SealedFile } from '../../src/storage/partial.ts'
import type { RepositoryKey } from '../../src/storage/repository-key.ts'
import { lent } from '../support/lent.ts'
import { fillOf } from './operations.ts'
import type { Image, Layer, World } from './world.ts'

/** Who and what a play is about: what the invariants ask for. */
export interface Cast {
  readonly repositories: readonly RepositoryKey[]
  readonly layers: readonly Layer[]
  /** Images of a mirrored repository that may be pinned. */
  readonly pinnable?: readonly Image[]
}

/**
 * What is wrong in a world in which nobody works; empty: nothing. After a crash there may be bytes without a record,
 * which the next open adopts, and partials, which the next attempt goes on with; before one there may not.
 */
export async function problemsOf(world: World, cast: Cast, { crashed = false } = {}): Promise<string[]> {
  const problems = [...world.broken]
  for (const { repository, image, isThere } of world.acknowledged.values()) {
    const found = isThere
      ? await lossesOf(world, repository, image)
      : await remainsOf(world, repository, image)
    problems.push(...found)
  }
  for (const layer of cast.layers) problems.push(...(await contradictionsOf(world, layer, cast, crashed)))
  for (const repository of cast.repositories) {
    problems.push(
      ...(await unprovenOf(world, repository, cast)),
      ...(await danglingTagsOf(world, repository)),
    )
  }
  const partials = await world.store.partials.list()
  if (!crashed && partials.length > 0)
    problems.push(`partials are left over: ${partials.map(({ id }) => id)}`)
  return problems
}

/** What is missing of an image that was acknowledged. */
async function lossesOf({ known, store }: World, repository: RepositoryKey, image: Image): Promise<string[]> {
  const losses: string[] = []
  const { digest } = image.record
  const manifest = await known.manifest(repository, digest)
  if (!manifest || digestOf(manifest.bytes) !== digest) losses.push('its bytes')
  if ((await known.held(repository, digest))?.localAt === undefined) losses.push('its holding')
  if ((await known.tag(repository, image.tag))?.digest !== digest) losses.push('its tag')
  for (const layer of image.layers) {
    const held = await known.held(repository, layer.digest)
    if (held?.localAt === undefined) losses.push(`the holding of layer ${layer.name}`)
    if (held?.idleSince !== undefined) losses.push(`the mark that layer ${layer.name} is needed`)
    const row = await known.blob(layer.digest)
    if (!row) losses.push(`the record of layer ${layer.name}`)
    if (row && !row.kept) losses.push(`the mark that layer ${layer.name} is kept`)
    if (!(await store.stat(layer.digest))) losses.push(`the bytes of layer ${layer.name}`)
  }
  return losses.map((loss) => `an acknowledged manifest of ${repository} lost ${loss}`)
}

/** What is still there of an image whose deletion was acknowledged. */
async function remainsOf({ known }: World, repository: RepositoryKey, image: Image): Promise<string[]> {
  const remains: string[] = []
  const { digest } = image.record
  if (await known.held(repository, digest)) remains.push('manifest')
  if ((await known.tag(repository, image.tag))?.digest === digest) remains.push('tag')
  return remains.map((remain) => `a deleted ${remain} of ${repository} is there again`)
}

/** Where the record of a layer, its file and its holders say different things. */
async function contradictionsOf(
  { known, store, door }: World,
  { name, digest, bytes }: Layer,
  { repositories }: Cast,
  crashed: boolean,
): Promise<string[]> {
  const problems: string[] = []
  const row = await known.blob(digest)
  await using stored = await store.open(digest)
  if (!stored && door.remembers(digest)) problems.push(`layer ${name} was removed and is given all the same`)
  if (row && !stored) problems.push(`a record of layer ${name} without its bytes`)
  if (!row && stored && !crashed) problems.push(`bytes of layer ${name} without a record`)
  if (row && stored && !crashed && !isSameFile(row, stored.file))
    problems.push(`a record of another file of layer ${name}`)
  if (stored) {
    const buffer = Buffer.alloc(stored.size)
    await stored.read(buffer, 0)
    if (!buffer.equals(bytes)) problems.push(`other bytes than those of layer ${name}`)
  }
  const holdings = await Promise.all(repositories.map((repository) => known.held(repository, digest)))
  const isKept =
    holdings.some((held) => held?.localAt !== undefined) ||
    // Who has pinned it may have no evidence of it.
    (await known.keeping(digest, 10)).some(({ pinnedAt }) => pinnedAt !== undefined)
  if (row && row.kept !== isKept) problems.push(`layer ${name} is marked ${row.kept ? '' : 'not '}to be kept`)
  return problems
}

/** What a repository was given without having shown that it may have it. */
async function unprovenOf(
  { known, evidence }: World,
  repository: RepositoryKey,
  cast: Cast,
): Promise<string[]> {
  const unproven: string[] = []
  for (const { name, digest } of cast.layers) {
    const held = await known.held(repository, digest)
    if (held && !evidence.has(`${repository} ${digest}`)) unproven.push(name)
  }
  return unproven.map((name) => `${repository} holds layer ${name} without evidence`)
}

async function danglingTagsOf({ known }: World, repository: RepositoryKey): Promise<string[]> {
  const dangling: string[] = []
  for (const tag of await known.tags(repository)) {
    const record = await known.tag(repository, tag)
    if (!record || !(await known.manifest(repository, record.digest))) dangling.push(tag)
  }
  return dangling.map((tag) => `tag ${tag} of ${repository} points at nothing`)
}

/**
 * What the next process does with what a crash has left: bytes without their record are compared with their digest and
 * recorded when they are asked for, a partial of a fill is gone on with, and one of an upload is removed as too old.
 */
export async function recover({ known, store }: World, layers: readonly Layer[], at: number): Promise<void> {
  for (const digest of await store.list({ limit: 100 })) {
    const file = await store.stat(digest)
    const row = await known.blob(digest)
    if (file && !(row && isSameFile(row, file))) await known.verified(digest, file, at)
  }
  for (const { id } of await store.partials.list()) {
    const layer = layers.find(({ digest }) => id === fillOf(digest))
    if (!layer) await store.partials.remove(id)
    else {
      await using partial = await store.partials.open({ id, algorithm: digestAlgorithm(layer.digest) })
      await partial.write(0, lent(layer.bytes))
      await known.sealed(layer.digest, await partial.seal(layer.digest), at)
    }
  }
}

/** Whether it is the file that was recorded. */
export function isSameFile(one: SealedFile, other: SealedFile): boolean {
  return one.size === other.size && one.mtime === other.mtime && one.inode === other.inode
}
