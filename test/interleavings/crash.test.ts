import assert from 'node:assert/strict'
import { test } from 'node:test'
import { alpine, app } from '../storage/catalog-fixtures.ts'
import { collect, evict, fill, given, push, pushWhatLacks, evictAfterALook } from './operations.ts'
import { inEveryOrderWithACrash, type Scene } from './search.ts'
import { imageOf, layerOf, plainDoor, type World } from './world.ts'

const layer = layerOf('one')
const image = imageOf(layer)
const cast = { repositories: [app, alpine], layers: [layer], disk: ['sync','rename', 'sync-folder', 'unlink'], afterwards: (w: World) => push(w, image) }
const collector = (world: World) => collect(world, layer)
const evictor = (world: World) => evict(world, layer)
const filler = (world: World) => fill(world, layer)
const pusher = (world: World) => push(world, image)

const scenes = {
  a: { ...cast, prepare: (w) => given.idle(w, layer), actors: { collector, pusher } },
  b: { ...cast, prepare: (w) => given.idle(w, layer), actors: { collector, pusher, filler } },
  c: { ...cast, prepare: (w) => given.cached(w, layer), actors: { evictor, pusher, filler } },
  c2: { ...cast, prepare: (w) => given.image(w, image), actors: { pusher, filler } },
  e: { ...cast, prepare: (w) => given.idle(w, layer), actors: { collector, pusher: (w) => pushWhatLacks(w, image) } },
} satisfies Record<string, Scene>

for (const [name, scene] of Object.entries(scenes)) {
  test(name, async () => {
    const t = performance.now()
    for (const kind of ['killed', 'power'] as const) {
      const found = await inEveryOrderWithACrash(scene, kind)
      console.log(name, kind, found.orders, found.losses.length, found.losses[0], performance.now() - t)
    }
  })
}
