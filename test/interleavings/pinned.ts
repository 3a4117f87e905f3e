import type { Digest } from '../../src/oci/digest.ts'
import type { Catalog } from '../../src/storage/catalog.ts'
import type { PinPattern } from '../../src/storage/pins.ts'
import { nameOf, originOf } from '../../src/storage/repository-key.ts'
import { alpine, anyone } from '../storage/catalog-fixtures.ts'
import { fill, longAgo, now } from './operations.ts'
import type { Image, Layer, World } from './world.ts'

/** Somebody wants for ever what the tag of an image points at. */
export async function pin(world: World, image: Image): Promise<void> {
  await world.catalog.pin(patternOf(image), now)
}

export async function unpin(world: World, image: Image): Promise<void> {
  await world.catalog.unpin(patternOf(image))
  release(world, image)
}

/** A mirrored repository forgets a manifest. */
export async function forget(world: World, { record, ...image }: Image): Promise<void> {
  await world.catalog.deleteManifest(alpine, record.digest, now)
  release(world, { record, ...image })
}

/** A manifest comes from its upstream, with its tag. */
export async function pullManifest(world: World, { record, references, tag }: Image): Promise<void> {
  await world.catalog.pulled(alpine, record, { ...anyone(now), tag, references })
  world.evidence.add(`${alpine} ${record.digest}`)
}

/**
 * A pull of an image that is to stay. `pins`: whether it pins it first. `looksAgain`: what was given may have been on its
 * way out: without a record that the pin keeps it is not here. `tries`: fetches of a layer after which it says that it has
 * failed.
 */
export async function warm(
  world: World,
  image: Image,
  { pins = true, looksAgain = true, tries = 2 } = {},
): Promise<void> {
  if (pins) await pin(world, image)
  await pullManifest(world, image)
  for (const layer of image.layers) {
    let isHere = false
    for (let left = tries; !isHere && left > 0; left -= 1) {
      await fill(world, layer)
      isHere = !looksAgain || (await world.catalog.blob(layer.digest)) !== undefined
    }
    if (isHere && (await isPinned(world.known, image))) world.warmed.add(layer.digest)
  }
}

/** It was pulled and pinned long ago, and its layers are here. */
export async function givenPinned(world: World, image: Image): Promise<void> {
  await world.catalog.pin(patternOf(image), longAgo)
  await warm(world, image, { pins: false })
}

/** Nobody promises any more that it stays. */
function release(world: World, { layers }: Image): void {
  for (const { digest } of layers) world.warmed.delete(digest)
}

/** Who wants what, and what is there of it: asked between two steps. */
export class PinWatch {
  readonly #world: World
  readonly #images: readonly Image[]
  /** Layers that are pinned and here. */
  readonly #safe = new Set<Digest>()

  constructor(world: World, images: readonly Image[]) {
    this.#world = world
    this.#images = images
  }

  /** Whoever works stands still: what is recorded is here, and what is pinned and here stays. */
  async look(): Promise<void> {
    const { known, store, broken } = this.#world
    const pinned = await pinnedOf(known, this.#images)
    for (const { name, digest } of layersOf(this.#images)) {
      const [row, file] = [await known.blob(digest), await store.stat(digest)]
      if (row && !file) broken.push(`for a moment there is a record of layer ${name} without its bytes`)
      const isHere = row !== undefined && file !== undefined
      const isLost = !isHere && pinned.has(digest) && this.#safe.has(digest)
      if (isLost) broken.push(`pinned layer ${name} was here, and is lost`)
      if (isHere && pinned.has(digest)) this.#safe.add(digest)
      else this.#safe.delete(digest)
    }
  }

  /** What is wrong when nobody works: what was warmed is here, and marked is what pins want, and nothing else. */
  async problems(): Promise<string[]> {
    const { known, store, warmed } = this.#world
    const problems: string[] = []
    const pinned = await pinnedOf(known, this.#images)
    for (const { name, digest } of layersOf(this.#images)) {
      const isHere = (await known.blob(digest)) !== undefined && (await store.stat(digest)) !== undefined
      if (warmed.has(digest) && !isHere) problems.push(`layer ${name} was warmed, and is not here`)
      const isMarked = (await known.keeping(digest, 10)).some(
        ({ repository, pinnedAt }) => repository === alpine && pinnedAt !== undefined,
      )
      if (isMarked !== pinned.has(digest))
        problems.push(`layer ${name} is marked ${isMarked ? '' : 'not '}as pinned`)
    }
    return problems
  }
}

/** What pins want, by what tags point at: another reading of it than the catalog's. */
async function pinnedOf(known: Catalog, images: readonly Image[]): Promise<ReadonlySet<Digest>> {
  const pinned = new Set<Digest>()
  for (const image of images) {
    if (!(await isPinned(known, image))) continue
    for (const { digest } of image.layers) pinned.add(digest)
  }
  return pinned
}

async function isPinned(known: Catalog, image: Image): Promise<boolean> {
  const isWanted = (await known.pins()).some(({ pattern }) => pattern.tag === image.tag)
  return isWanted && (await known.tag(alpine, image.tag))?.digest === image.record.digest
}

function patternOf({ tag }: Image): PinPattern {
  return { origin: originOf(alpine), repository: nameOf(alpine), tag }
}

function layersOf(images: readonly Image[]): readonly Layer[] {
  return [...new Set(images.flatMap(({ layers }) => layers))]
}
