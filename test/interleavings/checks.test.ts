import { test } from 'node:test'
import { alpine, app } from '../storage/catalog-fixtures.ts'
import { assertLost, assertNothingLost, few } from './found.ts'
import { evict, given, push } from './operations.ts'
import { plainDoor } from './plain-door.ts'
import { inEveryOrder, type Scene } from './search.ts'
import { imageOf, layerOf, type World } from './world.ts'

const layer = layerOf('one')
const image = imageOf(layer)
const cast = { repositories: [app, alpine], layers: [layer] }

const checker = (world: World) => world.door.check(layer.digest)
const evictor = (world: World) => evict(world, layer)
const pusher = (world: World) => push(world, image)

/** What is seen by one who checks may be otherwise before he records it. */
const scenes: Readonly<Record<string, Scene>> = {
  // 1. The check reads the whole file. 2. Eviction takes the record, then the file. 3. The check records that they are
  // right. 4. A push mounts them, and its manifest is acknowledged: without bytes.
  'a check of bytes that are evicted meanwhile': {
    ...cast,
    prepare: (world) => given.cached(world, layer),
    actors: { checker, evictor, pusher },
  },
  // 1. The check finds no file. 2. A push stores the bytes, and records them. 3. The check takes the record away.
  'a check of bytes that are missing, and a push of them': {
    ...cast,
    prepare: async (world) => {
      await given.private(world, layer)
      await world.store.delete(layer.digest)
    },
    actors: { checker, pusher },
  },
  // 1. The check finds wrong bytes. 2. A push puts right ones in their place. 3. The check removes those.
  'a check of bytes that are damaged, and a push of them': {
    ...cast,
    prepare: async (world) => {
      await given.private(world, layer)
      world.store.damage(layer.digest, (bytes) => bytes.fill(0, 0, 4), { touches: false })
    },
    actors: { checker, pusher },
  },
}

for (const [what, scene] of Object.entries(scenes)) {
  test(`${what}: nothing is lost in any order`, async (t) => {
    assertNothingLost(t, await inEveryOrder(scene, few))
  })

  test(`${what}: whoever does not look again under the lock of the digest loses it`, async (t) => {
    const careless = { ...scene, openDoor: plainDoor({ looksAgain: false }) }
    assertLost(t, await inEveryOrder(careless), /an acknowledged manifest of local:app lost/)
  })
}
