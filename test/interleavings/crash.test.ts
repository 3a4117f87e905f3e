import { test } from 'node:test'
import { alpine, app } from '../storage/catalog-fixtures.ts'
import { catalogs } from './catalogs.ts'
import { assertLost, assertNothingLost, few } from './found.ts'
import { collect, deleteManifest, evict, fill, given, push, pushWhatLacks } from './operations.ts'
import { plainDoor } from './plain-door.ts'
import { inEveryOrderWithACrash, type Scene } from './search.ts'
import { imageOf, layerOf, type OpenDoor, type World } from './world.ts'

const layer = layerOf('one')
const image = imageOf(layer)

const collector = (world: World) => collect(world, layer)
const evictor = (world: World) => evict(world, layer)
const filler = (world: World) => fill(world, layer)
const pusher = (world: World) => push(world, image)
const asker = (world: World) => pushWhatLacks(world, image)
const deleter = (world: World) => deleteManifest(world, image)

const cast = {
  repositories: [app, alpine],
  layers: [layer],
  disk: ['sync', 'rename', 'sync-folder', 'unlink'],
  // The client that got no answer tries again.
  afterwards: pusher,
}

const scenes: Readonly<Record<string, Scene>> = {
  'a push': { ...cast, actors: { pusher } },
  'a fill': { ...cast, actors: { filler } },
  'collection and push': { ...cast, prepare: (w) => given.idle(w, layer), actors: { collector, pusher } },
  'collection, and a push that asks first': {
    ...cast,
    prepare: (world) => given.idle(world, layer),
    actors: { collector, asker },
  },
  'eviction, push and fill': {
    ...cast,
    prepare: (world) => given.cached(world, layer),
    actors: { evictor, pusher, filler },
  },
  'deletion and collection': {
    ...cast,
    prepare: (world) => given.image(world, image),
    actors: { deleter, collector },
    afterwards: async () => {},
  },
  'what was pushed is pushed again': {
    ...cast,
    prepare: (world) => given.image(world, image),
    actors: { pusher, filler },
  },
}

for (const [name, open] of Object.entries(catalogs)) {
  const openCatalog = open()
  for (const [what, scene] of Object.entries(scenes)) {
    for (const kind of ['killed', 'power'] as const) {
      if (name !== 'memory' && Object.keys(scene.actors).length > 2) continue
      test(`${what}, and a crash (${kind}) at any place: nothing is lost (${name})`, async (t) => {
        assertNothingLost(t, await inEveryOrderWithACrash({ ...scene, openCatalog }, kind, few))
      })
    }
  }
}

// From here on: the search sees losses where there are some.

/** A door whose collector and evictor take away the bytes before the record. */
const unlinkingFirst: OpenDoor = (store, ...others) => ({
  ...plainDoor()(store, ...others),
  remove: async (digest, condition) => {
    const size = await store.delete(digest)
    await condition()
    return size
  },
})

/** A door that records what it is about to seal. */
const recordingFirst: OpenDoor = (store, ...others) => ({
  ...plainDoor()(store, ...others),
  seal: async (partial, digest, record) => {
    await record({ size: partial.present.total, mtime: 0, inode: 0 })
    return partial.seal(digest)
  },
})

test('bytes are taken away before their record: a crash in between leaves a record without bytes', async (t) => {
  const scene = { ...cast, prepare: (world: World) => given.cached(world, layer), actors: { evictor } }
  const found = await inEveryOrderWithACrash({ ...scene, openDoor: unlinkingFirst }, 'killed')
  assertLost(t, found, /a record of layer one without its bytes/)
})

test('bytes are recorded before they are stored: a crash in between leaves a record without bytes', async (t) => {
  const scene = { ...cast, actors: { pusher }, openDoor: recordingFirst }
  assertLost(t, await inEveryOrderWithACrash(scene, 'killed'), /a record of layer one without its bytes/)
})
