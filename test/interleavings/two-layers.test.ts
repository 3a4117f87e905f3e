import { test } from 'node:test'
import { alpine, app } from '../storage/catalog-fixtures.ts'
import { catalogs } from './catalogs.ts'
import { assertLost, assertNothingLost, enough, few } from './found.ts'
import { collect, deleteManifest, evict, fill, given, push, pushWhatLacks } from './operations.ts'
import { plainDoor } from './plain-door.ts'
import { inEveryOrder, type Scene } from './search.ts'
import { imageOf, layerOf, type World } from './world.ts'

const one = layerOf('one')
const two = layerOf('two')
const image = imageOf(one, two)
/** It shares a layer with the other one. */
const small = imageOf(one)
const cast = { repositories: [app, alpine], layers: [one, two] }

const pusher = (world: World) => push(world, image)
const asker = (world: World) => pushWhatLacks(world, image)
const collectorOfOne = (world: World) => collect(world, one)
const collectorOfTwo = (world: World) => collect(world, two)
const evictor = (world: World) => evict(world, two)
const filler = (world: World) => fill(world, two)
const deleter = (world: World) => deleteManifest(world, small)

async function areIdle(world: World): Promise<void> {
  await given.idle(world, one)
  await given.idle(world, two)
}

async function haveSmall(world: World): Promise<void> {
  await given.image(world, small)
  await given.cached(world, two)
}

const scenes: Readonly<Record<string, Scene>> = {
  'push, and collection of both layers': {
    ...cast,
    prepare: areIdle,
    actors: { pusher, collectorOfOne, collectorOfTwo },
  },
  'push that asks first, and collection of both layers': {
    ...cast,
    prepare: areIdle,
    actors: { asker, collectorOfOne, collectorOfTwo },
  },
  'deletion of an image, push of one that shares a layer, collection and eviction': {
    ...cast,
    prepare: haveSmall,
    actors: { deleter, pusher, collectorOfOne, evictor },
  },
  'deletion of an image, push of one that asks first and shares a layer, collection and fill': {
    ...cast,
    prepare: async (world) => {
      await given.image(world, small)
      await given.idle(world, two)
    },
    actors: { deleter, asker, collectorOfTwo, filler },
  },
}

// The largest over the tables in memory only: the others show that SQLite does the same.
for (const [name, open] of Object.entries(catalogs)) {
  const openCatalog = open()
  for (const [what, scene] of Object.entries(scenes)) {
    if (name !== 'memory' && Object.keys(scene.actors).length > 3) continue
    test(`two layers: ${what}: nothing is lost in any order (${name})`, async (t) => {
      assertNothingLost(t, await inEveryOrder({ ...scene, openCatalog }, few))
    })
  }
}

for (const [what, scene] of Object.entries(scenes)) {
  test(`two layers: ${what}: without the lock of a digest something is lost`, async (t) => {
    assertLost(t, await inEveryOrder({ ...scene, openDoor: plainDoor({ locks: false }) }, enough), /lost the/)
  })
}
