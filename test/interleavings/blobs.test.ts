import { test } from 'node:test'
import { alpine, app } from '../storage/catalog-fixtures.ts'
import { blobsDoor } from './blobs-door.ts'
import { assertNothingLost } from './found.ts'
import { collect, evict, fill, given, push, pushWhatLacks } from './operations.ts'
import { inEveryOrder, type Scene } from './search.ts'
import { imageOf, layerOf, type World } from './world.ts'

const layer = layerOf('one')
const image = imageOf(layer)
const cast = { repositories: [app, alpine], layers: [layer], openDoor: blobsDoor, disk: ['rename', 'unlink'] }

const collector = (world: World) => collect(world, layer)
const evictor = (world: World) => evict(world, layer)
const filler = (world: World) => fill(world, layer)
const pusher = (world: World) => push(world, image)
const asker = (world: World) => pushWhatLacks(world, image)
const checker = (world: World) => world.door.check(layer.digest)
const isCached = (world: World) => given.cached(world, layer)

const large = layerOf('large', 70_000)

const scenes: Readonly<Record<string, Scene>> = {
  'a push and a fill': { ...cast, actors: { pusher, filler } },
  'collection and push': { ...cast, prepare: (w) => given.idle(w, layer), actors: { collector, pusher } },
  'collection, and a push that asks first': { ...cast, prepare: (w) => given.idle(w, layer), actors: { collector, asker } },
  'eviction, push and fill': { ...cast, prepare: isCached, actors: { evictor, pusher, filler } },
  'check, eviction and push': { ...cast, prepare: (w) => given.copied(w, layer), actors: { evictor, pusher, checker } },
  'check, eviction and push, large': { ...cast, layers: [large], prepare: (w) => given.copied(w, large), actors: { evictor: (w) => evict(w, large), pusher: (w) => push(w, imageOf(large)), checker: (w) => w.door.check(large.digest) } },
}

for (const [what, scene] of Object.entries(scenes)) {
  test(`Blobs: ${what}: nothing is lost in any order`, async (t) => {
    const x = performance.now()
    try {
    assertNothingLost(t, await inEveryOrder(scene))
    } finally { console.log(what, performance.now() - x) }
  })
}
