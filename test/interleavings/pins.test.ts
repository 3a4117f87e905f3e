import { test } from 'node:test'
import type { Digest } from '../../src/oci/digest.ts'
import type { Catalog } from '../../src/storage/catalog.ts'
import { MemoryCatalog } from '../../src/storage/memory/memory-catalog.ts'
import { memoryVerbs } from '../../src/storage/memory/verbs.ts'
import { alpine, app } from '../storage/catalog-fixtures.ts'
import { blobsDoor } from './blobs-door.ts'
import { catalogs } from './catalogs.ts'
import { assertLost, assertNothingLost, enough, few } from './found.ts'
import { collect, evict, fill, given, push, pushWhatLacks, read } from './operations.ts'
import { forget, givenPinned, pin, pullManifest, unpin, warm } from './pinned.ts'
import { plainDoor } from './plain-door.ts'
import { inEveryOrder, type Scene } from './search.ts'
import { imageOf, layerOf, type OpenDoor, type World } from './world.ts'

// Too large to be kept in memory, where it is opened by the real door.
const layer = layerOf('one', 70_000)
const image = imageOf(layer)
const cast = { repositories: [app, alpine], layers: [layer], pinnable: [image] }

const evictor = (world: World) => evict(world, layer)
const otherEvictor = evictor
const pinner = (world: World) => pin(world, image)
const unpinner = (world: World) => unpin(world, image)
const warmer = (world: World) => warm(world, image)
/** Its tag is pinned by somebody else, before, during or after. */
const puller = (world: World) => warm(world, image, { pins: false })
const onceWarmer = (world: World) => warm(world, image, { tries: 1 })
const hastyWarmer = (world: World) => warm(world, image, { looksAgain: false })
const forgetter = (world: World) => forget(world, image)
const filler = (world: World) => fill(world, layer)
const pusher = (world: World) => push(world, image)
const asker = (world: World) => pushWhatLacks(world, image)
const collector = (world: World) => collect(world, layer)
const reader = (world: World) => read(world, layer, 32_000)
const checker = (world: World) => world.door.check(layer.digest).catch(() => {})

const isCached = (world: World) => given.cached(world, layer)
async function isPulled(world: World): Promise<void> {
  await given.cached(world, layer)
  await pullManifest(world, image)
}

const isPinned = (world: World) => givenPinned(world, image)

async function isPinnedAndIdle(world: World): Promise<void> {
  await given.idle(world, layer)
  await givenPinned(world, image)
}

async function isPinnedAndDamaged(world: World): Promise<void> {
  await givenPinned(world, image)
  world.store.damage(layer.digest, (bytes) => bytes.fill(0, 0, 4), { touches: true })
  // Whoever warmed it was told the truth.
  world.warmed.clear()
}

const scenes: Readonly<Record<string, Scene>> = {
  'warm with a pin, and eviction': { ...cast, prepare: isCached, actors: { warmer, evictor } },
  'warm with a pin of what is not here, and two evictions': {
    ...cast,
    actors: { warmer, evictor, otherEvictor },
  },
  'a pull, a pin before, during or after it, and eviction': {
    ...cast,
    prepare: isCached,
    actors: { puller, pinner, evictor },
  },
  'warm, eviction and a push that mounts': {
    ...cast,
    prepare: isCached,
    actors: { onceWarmer, evictor, pusher },
  },
  'a pin, eviction, and a push of the same': {
    ...cast,
    prepare: isPulled,
    actors: { pinner, evictor, asker },
  },
  'what is pinned, eviction, fill, and one who reads': {
    ...cast,
    prepare: isPinned,
    actors: { evictor, filler, reader },
  },
  'what is pinned, and is no more, eviction, and one who reads': {
    ...cast,
    prepare: isPinned,
    actors: { unpinner, evictor, reader },
  },
  'what is pinned, and is no more, eviction, and a push that mounts': {
    ...cast,
    prepare: isPinned,
    actors: { unpinner, evictor, pusher },
  },
  'what is pinned, forgotten and pulled again, and eviction': {
    ...cast,
    prepare: isPinned,
    actors: { forgetter, puller, evictor },
  },
  'what is pinned and was pushed, collection, eviction and an end of the pin': {
    ...cast,
    prepare: isPinnedAndIdle,
    actors: { collector, evictor, unpinner },
  },
  'what is pinned and was pushed, collection, eviction, and a push that asks first': {
    ...cast,
    prepare: isPinnedAndIdle,
    actors: { collector, evictor, asker },
  },
}

/** What is damaged is lost to whoever pinned it until it is fetched again: nobody watches it. */
const damaged: Readonly<Record<string, Scene>> = {
  'what is pinned and damaged, a check, a fill and eviction': {
    ...cast,
    pinnable: [],
    prepare: isPinnedAndDamaged,
    actors: { checker, filler, evictor },
  },
  'what is pinned and damaged, a check, eviction, and a push of it': {
    ...cast,
    pinnable: [],
    prepare: isPinnedAndDamaged,
    actors: { checker, evictor, asker },
  },
}

// The largest over the tables in memory only: the others show that SQLite does the same.
for (const [name, open] of Object.entries(catalogs)) {
  const openCatalog = open()
  for (const [what, scene] of Object.entries({ ...scenes, ...damaged })) {
    if (name !== 'memory' && 'onceWarmer' in scene.actors) continue
    test(`${what}: nothing is lost in any order (${name})`, async (t) => {
      assertNothingLost(t, await inEveryOrder({ ...scene, openCatalog }, few))
    })
  }
}

for (const [what, scene] of Object.entries({ ...scenes, ...damaged })) {
  // Those that fetch take many steps: their orders are drawn elsewhere.
  const isLarge = [warmer, onceWarmer, puller, filler].some((one) =>
    Object.values(scene.actors).includes(one),
  )
  if (isLarge && Object.keys(scene.actors).length > 2) continue
  test(`Blobs: ${what}: nothing is lost in any order`, async (t) => {
    assertNothingLost(t, await inEveryOrder({ ...scene, openDoor: blobsDoor }, few))
  })
}

// From here on: the search sees losses where there are some.

/** Evicts whatever is kept. */
class CarelessCatalog extends MemoryCatalog {
  override readonly evict = async (digest: Digest): Promise<boolean> => this.tables.dropBlob(digest)
}

/** What comes under a pinned tag is not marked. */
class ForgetfulCatalog extends MemoryCatalog {
  override readonly pulled = async (...asked: Parameters<Catalog['pulled']>): Promise<void> => {
    const pins = new Map(this.tables.pins)
    this.tables.pins.clear()
    memoryVerbs.pulled(this.tables, ...asked)
    for (const [key, row] of pins) this.tables.pins.set(key, row)
  }
}

/** A door that stores what it fetches, and does not record it. */
const unrecording: OpenDoor = (store, catalog, stage) => {
  const careless = new Proxy(catalog, {
    get: (_, name) => (name === 'sealed' ? async () => {} : Reflect.get(catalog, name)),
  })
  return plainDoor()(store, careless, stage)
}

const warmed = scenes['warm with a pin, and eviction'] as Scene

test('what is kept is evicted: a pinned layer is lost', async (t) => {
  const openCatalog = () => new CarelessCatalog()
  assertLost(
    t,
    await inEveryOrder({ ...warmed, openCatalog }, enough),
    /pinned layer one was here, and is lost/,
  )
})

test('what comes under a pinned tag is not marked: a layer that was warmed is evicted', async (t) => {
  const openCatalog = () => new ForgetfulCatalog()
  assertLost(t, await inEveryOrder({ ...warmed, openCatalog }, enough), /was warmed, and is not here/)
})

test('what was fetched is not recorded: its bytes are without a record', async (t) => {
  const scene = { ...cast, actors: { filler, evictor } }
  assertLost(t, await inEveryOrder({ ...scene, openDoor: unrecording }, enough), /without a record/)
})

test('eviction without the lock of a digest: a pinned layer is lost', async (t) => {
  const scene = { ...cast, prepare: isPulled, actors: { pinner, evictor, asker } }
  const found = await inEveryOrder({ ...scene, openDoor: plainDoor({ locks: false }) }, enough)
  assertLost(t, found, /pinned layer one was here, and is lost/)
})

// 1. Eviction takes the record, before the pin. 2. Whoever warms pins, and finds the file. 3. The file goes.
test('a pull that was whole is no proof that what is pinned is here', async (t) => {
  const scene = { ...cast, prepare: isCached, actors: { hastyWarmer, evictor } }
  assertLost(t, await inEveryOrder(scene, enough), /was warmed, and is not here/)
})
