import assert from 'node:assert/strict'
import { test } from 'node:test'
import { alpine, app, repositoryOf } from '../storage/catalog-fixtures.ts'
import { catalogs } from './catalogs.ts'
import { assertLost, assertNothingLost, enough, few } from './found.ts'
import {
  collect,
  deleteLayer,
  deleteManifest,
  evict,
  evictAfterALook,
  fill,
  given,
  push,
  pushWhatLacks,
  read,
} from './operations.ts'
import { plainDoor } from './plain-door.ts'
import { inEveryOrder, type Scene } from './search.ts'
import { imageOf, layerOf, type World } from './world.ts'

const layer = layerOf('one')
const image = imageOf(layer)
const other = repositoryOf('local', 'other')
const cast = { repositories: [app, other, alpine], layers: [layer] }

const collector = (world: World) => collect(world, layer)
const evictor = (world: World) => evict(world, layer)
const filler = (world: World) => fill(world, layer)
const pusher = (world: World) => push(world, image)
const otherPusher = (world: World) => push(world, image, other)
const asker = (world: World) => pushWhatLacks(world, image)
const layerDeleter = (world: World) => deleteLayer(world, layer)
const deleter = (world: World) => deleteManifest(world, image)
const reader = (world: World) => read(world, layer)

const isIdle = (world: World) => given.idle(world, layer)
const isCached = (world: World) => given.cached(world, layer)
const isPushed = (world: World) => given.image(world, image)

/** What loses something without the lock of the digest, and nothing with it. */
const needLock: Readonly<Record<string, Scene>> = {
  'collection and push': { ...cast, prepare: isIdle, actors: { collector, pusher } },
  'collection, push and fill': { ...cast, prepare: isIdle, actors: { collector, pusher, filler } },
  'eviction, push and fill': { ...cast, prepare: isCached, actors: { evictor, pusher, filler } },
  'collection, eviction, push and fill': {
    ...cast,
    prepare: isIdle,
    actors: { collector, evictor, pusher, filler },
  },
  'collection, and a push that asks first': { ...cast, prepare: isIdle, actors: { collector, asker } },
  'collection, and pushes to two repositories': {
    ...cast,
    prepare: isIdle,
    actors: { collector, pusher, otherPusher },
  },
  'the deletion of a layer, and a push to another repository': {
    ...cast,
    prepare: isIdle,
    actors: { layerDeleter, otherPusher },
  },
  'the deletion of a layer, a push to another repository, and a fill': {
    ...cast,
    prepare: isIdle,
    actors: { layerDeleter, otherPusher, filler },
  },
}

/** What loses nothing anyway. */
const others: Readonly<Record<string, Scene>> = {
  'a push and a fill of what is not here': { ...cast, actors: { pusher, filler } },
  'a fill, eviction, and one who reads': { ...cast, prepare: isCached, actors: { filler, evictor, reader } },
  'push of what an account only was given, and eviction': {
    ...cast,
    prepare: (world) => given.private(world, layer),
    actors: { pusher, evictor },
  },
  'deletion, collection, and a push of the same': {
    ...cast,
    prepare: isPushed,
    actors: { deleter, collector, pusher },
  },
  'deletion, collection, and a push that asks first': {
    ...cast,
    prepare: isPushed,
    actors: { deleter, collector, asker },
  },
  'the deletion of an image and of its layer, and a collection': {
    ...cast,
    prepare: isPushed,
    actors: { deleter, layerDeleter, collector },
  },
}

// The largest over the tables in memory only: the others show that SQLite does the same.
for (const [name, open] of Object.entries(catalogs)) {
  const openCatalog = open()
  for (const [what, scene] of Object.entries({ ...needLock, ...others })) {
    if (name !== 'memory' && Object.keys(scene.actors).length > 3) continue
    test(`${what}: nothing is lost in any order (${name})`, async (t) => {
      assertNothingLost(t, await inEveryOrder({ ...scene, openCatalog }, few))
    })
  }
}

// From here on: the search sees losses where there are some.

for (const [what, scene] of Object.entries(needLock)) {
  test(`${what}: without the lock of a digest something is lost`, async (t) => {
    assertLost(t, await inEveryOrder({ ...scene, openDoor: plainDoor({ locks: false }) }, enough), /lost the/)
  })
}

test('without the lock of a digest: the shortest way to lose a push', async () => {
  const scene = { ...cast, prepare: isIdle, actors: { collector, pusher } }
  const { losses } = await inEveryOrder({ ...scene, openDoor: plainDoor({ locks: false }) })
  assert.deepEqual(losses[0]?.schedule, [
    'collector: remove',
    'collector: letGo',
    'pusher: mount',
    'pusher: seal',
    'pusher: rename',
    'pusher: pushed',
    'pusher: putManifest',
    'collector: unlink',
  ])
  assert.ok(losses[0].problems.includes(`an acknowledged manifest of ${app} lost the bytes of layer one`))
})

test('"Layer already exists" that is no lease: the manifest is refused though its layer was promised', async (t) => {
  const forgetful = (world: World) => pushWhatLacks(world, image, { asks: 'held' })
  const scene = { ...cast, prepare: isIdle, actors: { collector, forgetful } }
  assertLost(t, await inEveryOrder(scene), /which was promised/)
})

test('look first, then delete: a push that mounts in between is lost, lock or no lock', async (t) => {
  const looker = (world: World) => evictAfterALook(world, layer)
  const scene = { ...cast, prepare: isCached, actors: { looker, pusher } }
  assertLost(t, await inEveryOrder(scene), /lost the bytes/)
})
