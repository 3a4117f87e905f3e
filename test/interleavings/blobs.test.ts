import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { alpine, app } from '../storage/catalog-fixtures.ts'
import { blobsDoor } from './blobs-door.ts'
import { catalogs } from './catalogs.ts'
import { assertNothingLost, few } from './found.ts'
import { collect, evict, fill, given, push, pushAtOnce, pushWhatLacks } from './operations.ts'
import { inEveryOrder, inEveryOrderWithACrash, playOnce, playUntilACrash, type Scene } from './search.ts'
import { imageOf, layerOf, type World } from './world.ts'

// What `plainDoor` shows of a rule, `Blobs` has to keep. One layer is read as a whole, one is too large for that.

interface Cast {
  readonly scene: Pick<Scene, 'repositories' | 'layers' | 'openDoor'>
  readonly actors: Readonly<Record<string, (world: World) => Promise<void>>>
  readonly before: Readonly<Record<string, (world: World) => Promise<void>>>
}

function castOf(size: number): Cast {
  const layer = layerOf(`of ${size} bytes`, size)
  const image = imageOf(layer)
  return {
    scene: { repositories: [app, alpine], layers: [layer], openDoor: blobsDoor },
    actors: {
      pusher: (world) => push(world, image),
      'pusher that asks first': (world) => pushWhatLacks(world, image),
      'pusher with a session': (world) => pushAtOnce(world, image),
      filler: (world) => fill(world, layer),
      evictor: (world) => evict(world, layer),
      collector: (world) => collect(world, layer),
      checker: (world) => world.door.check(layer.digest),
      // It is told that they are.
      'checker of damaged bytes': (world) => world.door.check(layer.digest).catch(() => {}),
    },
    before: {
      nothing: async () => {},
      cached: (world) => given.cached(world, layer),
      copied: (world) => given.copied(world, layer),
      idle: (world) => given.idle(world, layer),
      'damaged bytes': async (world) => {
        await given.private(world, layer)
        world.store.damage(layer.digest, (bytes) => bytes.fill(0, 0, 4), { touches: true })
      },
    },
  }
}

const sizes = { small: 100, large: 70_000 }

/** What is there before, and who acts. */
const plays: readonly (readonly [string, readonly string[]])[] = [
  ['nothing', ['pusher', 'filler']],
  ['idle', ['collector', 'pusher']],
  ['idle', ['collector', 'pusher that asks first']],
  ['cached', ['evictor', 'pusher', 'filler']],
  ['cached', ['checker', 'evictor']],
  ['copied', ['checker', 'evictor', 'pusher']],
  ['damaged bytes', ['checker of damaged bytes', 'pusher']],
  ['damaged bytes', ['checker of damaged bytes', 'evictor', 'pusher']],
]

for (const [size, bytes] of Object.entries(sizes)) {
  const cast = castOf(bytes)
  for (const [present, acting] of plays) {
    test(`Blobs, ${size}, ${present}: ${acting.join(', ')}: nothing is lost in any order`, async (t) => {
      assertNothingLost(
        t,
        await inEveryOrder({ ...sceneOf(cast, present, acting), disk: ['rename', 'unlink'] }, few),
      )
    })
  }

  for (const [name, open] of Object.entries(catalogs)) {
    const openCatalog = open()
    test(`Blobs, ${size}: whoever works at once, and a crash: nothing is lost (${name})`, async () => {
      const crashes = fc.option(
        fc.record({
          kind: fc.constantFrom('killed' as const, 'power' as const),
          coins: fc.infiniteStream(fc.boolean()),
        }),
      )
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom('nothing', 'cached', 'idle'),
          fc.subarray(Object.keys(cast.actors), { minLength: 2, maxLength: 5 }),
          fc.scheduler(),
          crashes,
          async (present, acting, scheduler, crash) => {
            const disk = ['open', 'stat', 'rename', 'sync-folder', 'unlink']
            const scene = { ...sceneOf(cast, present, acting), disk, openCatalog }
            const keeps = () => crash?.coins.next().value ?? true
            const { problems, schedule } = crash
              ? await playUntilACrash(scene, scheduler, { kind: crash.kind, keeps })
              : await playOnce(scene, scheduler)
            assert.deepEqual(problems, [], `after ${schedule.join(', ')}`)
          },
        ),
        { numRuns: 100 },
      )
    })
  }
}

test('Blobs: a push, a fill and a power cut at any place: nothing is lost', async (t) => {
  const scene = { ...sceneOf(castOf(sizes.small), 'nothing', ['pusher', 'filler']), disk: ['sync-folder'] }
  assertNothingLost(t, await inEveryOrderWithACrash(scene, 'power', few))
})

function sceneOf(cast: Cast, present: string, acting: readonly string[]): Scene {
  const actors = acting.map((name) => [name, cast.actors[name] ?? assert.fail(name)] as const)
  const pusher = cast.actors.pusher ?? assert.fail()
  const prepare = cast.before[present] ?? assert.fail(present)
  return { ...cast.scene, prepare, actors: Object.fromEntries(actors), afterwards: pusher }
}
