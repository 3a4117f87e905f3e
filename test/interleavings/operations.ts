import { type Digest, digestAlgorithm } from '../../src/oci/digest.ts'
import type { RepositoryKey } from '../../src/storage/repository-key.ts'
import { alpine, anyone, app } from '../storage/catalog-fixtures.ts'
import { lent } from '../support/lent.ts'
import type { Image, Layer, World } from './world.ts'

const hour = 3_600_000
/** Milliseconds since the epoch. Nobody's clock moves in a play. */
export const now = 1_000 * hour
export const longAgo = now - 100 * hour
/** How long a layer that nothing names is kept. */
export const graceMs = 24 * hour

/** Before this, all was used. */
const evenJustNow = Number.MAX_SAFE_INTEGER

/** What is in the world before a play begins, each of it as the program would have brought it there. */
export const given = {
  /** A mirrored repository has it for anyone, and an earlier process left its bytes here. */
  async cached(world: World, layer: Layer): Promise<void> {
    await keep(world, layer)
    await world.catalog.confirmed(alpine, layer.digest, anyone(now))
    world.evidence.add(`${alpine} ${layer.digest}`)
    world.free.add(layer.digest)
  },
  /** The same, but its upstream gave it to an account only. */
  async private(world: World, layer: Layer): Promise<void> {
    await keep(world, layer)
    await world.catalog.confirmed(alpine, layer.digest, { as: 'account', at: now })
    world.evidence.add(`${alpine} ${layer.digest}`)
  },
  /** The same, but somebody has copied the file since: it is not the one that was recorded. */
  async copied(world: World, layer: Layer): Promise<void> {
    await given.cached(world, layer)
    world.store.damage(layer.digest, (bytes) => bytes, { touches: true })
  },
  /** It was pushed long ago, and no manifest names it. */
  async idle(world: World, layer: Layer, repository = app): Promise<void> {
    await upload(world, layer, repository, longAgo)
  },
  /** It was pushed, with its layers. */
  async image(world: World, image: Image, repository = app): Promise<void> {
    for (const layer of image.layers) await upload(world, layer, repository, longAgo)
    await put(world, image, repository)
  },
}

async function keep(world: World, { digest, bytes }: Layer): Promise<void> {
  if (await world.store.stat(digest)) return
  const partial = await world.store.partials.open({
    id: fillOf(digest),
    algorithm: digestAlgorithm(digest),
  })
  await partial.write(0, lent(bytes))
  await world.catalog.sealed(digest, await partial.seal(digest), longAgo)
}

/** The collector at one layer: it takes away a reason, and the bytes if that was the last one. */
export async function collect(world: World, { digest }: Layer, repository = app): Promise<void> {
  await world.door.remove(
    digest,
    async () => (await world.catalog.letGo(repository, digest, now, graceMs)) === 'unlink',
  )
}

/** The evictor at one layer, at its worst: even what was used just now is old enough. */
export async function evict(world: World, { digest }: Layer): Promise<void> {
  await world.door.remove(digest, () => world.catalog.evict(digest, evenJustNow))
}

/** An evictor that looks first, and then removes what was nobody's when it looked. */
export async function evictAfterALook(world: World, { digest }: Layer): Promise<void> {
  const found = await world.catalog.leastRecent({ before: evenJustNow, limit: 100 })
  if (!found.some((one) => one.digest === digest)) return
  await world.door.remove(digest, async () => {
    await world.catalog.gone(digest)
    return true
  })
}

/** A pull of one layer through a mirrored repository: it is fetched if it is not here; then its upstream's yes is recorded. */
export async function fill(world: World, layer: Layer, repository = alpine): Promise<void> {
  const { digest } = layer
  await world.door.fetch(layer)
  await world.catalog.confirmed(repository, digest, anyone(now))
  world.evidence.add(`${repository} ${digest}`)
  world.free.add(digest)
}

/** The partial of a fill: the same in each process. */
export function fillOf(digest: Digest): string {
  return digest.replace(':', '-')
}

/** A push of an image that mounts what is free, uploads the rest, and puts its manifest. */
export async function push(world: World, image: Image, repository = app): Promise<void> {
  for (const layer of image.layers) {
    if (!(await mount(world, layer, repository))) await upload(world, layer, repository)
  }
  await put(world, image, repository)
}

/** A push as docker does it: all layers at once, each in an upload session of its own. */
export async function pushAtOnce(world: World, image: Image, repository = app): Promise<void> {
  await Promise.all(
    image.layers.map(async (layer) => {
      if (await world.catalog.lease(repository, layer.digest, now, graceMs)) return
      if (await mount(world, layer, repository)) return
      const id = world.nextUpload()
      await world.catalog.beginUpload(id, repository, now)
      await upload(world, layer, repository)
      await world.catalog.endUpload(id)
    }),
  )
  await put(world, image, repository)
}

/** A push that asks for each layer first ("Layer already exists"). `asks`: which verb answers. */
export async function pushWhatLacks(
  world: World,
  image: Image,
  { asks = 'lease', repository = app }: { asks?: 'lease' | 'held'; repository?: RepositoryKey } = {},
): Promise<void> {
  for (const layer of image.layers) {
    const isHere =
      asks === 'lease'
        ? await world.catalog.lease(repository, layer.digest, now, graceMs)
        : (await world.catalog.held(repository, layer.digest)) !== undefined
    if (!isHere) await upload(world, layer, repository)
  }
  await put(world, image, repository)
}

export async function deleteManifest(world: World, image: Image, repository = app): Promise<void> {
  await world.catalog.deleteManifest(repository, image.record.digest, now)
  world.acknowledge(repository, image, false)
}

/** Somebody deletes a layer, which goes with its bytes if no other repository has it. */
export async function deleteLayer(world: World, { digest }: Layer, repository = app): Promise<void> {
  await world.door.remove(
    digest,
    async () => (await world.catalog.deleteBlob(repository, digest)) === 'unlink',
  )
}

/** Somebody who reads a stored layer to its end, slowly. */
export async function read(world: World, { digest, bytes }: Layer, pieceSize = 16): Promise<void> {
  await world.stage.step('open', [digest])
  await using reader = await world.store.open(digest)
  if (!reader) return
  const buffer = Buffer.alloc(reader.size)
  for (let position = 0; position < reader.size; ) {
    await world.stage.step('read', [])
    const length = await reader.read(buffer.subarray(position, position + pieceSize), position)
    if (length === 0) break
    position += length
  }
  if (!buffer.equals(bytes)) world.broken.push(`a reader of ${digest} got other bytes`)
}

async function mount(world: World, { digest }: Layer, repository: RepositoryKey): Promise<boolean> {
  const times = { at: now, refusedAfter: longAgo }
  const isMounted = await world.catalog.mount(repository, digest, 'free', times)
  if (!isMounted) return false
  if (world.free.has(digest)) world.evidence.add(`${repository} ${digest}`)
  return true
}

async function upload(world: World, layer: Layer, repository: RepositoryKey, at = now): Promise<void> {
  const { digest, bytes } = layer
  const id = world.nextUpload()
  const partial = await world.store.partials.open({ id, algorithm: digestAlgorithm(digest) })
  await partial.write(0, lent(bytes))
  await world.door.seal(partial, digest, async (file) => {
    await world.catalog.pushed(repository, digest, file, at)
    world.evidence.add(`${repository} ${digest}`)
  })
}

/** All layers were promised by now: by an upload, a mount, or a yes to "is it there?". */
async function put(world: World, image: Image, repository: RepositoryKey): Promise<void> {
  const { record, references, tag } = image
  const missing = await world.catalog.putManifest(repository, record, { references, tags: [tag], at: now })
  if (missing.length === 0) world.acknowledge(repository, image, true)
  else world.broken.push(`a manifest was refused for want of ${missing.join(', ')}, which was promised`)
}
