import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { alpine, app, repositoryOf } from '../storage/catalog-fixtures.ts'
import { catalogs } from './catalogs.ts'
import {
  collect,
  deleteManifest,
  evict,
  fill,
  given,
  push,
  pushAtOnce,
  pushWhatLacks,
  read,
} from './operations.ts'
import { plainDoor } from './plain-door.ts'
import { type Loss, playOnce, playUntilACrash, type Scene } from './search.ts'
import { imageOf, layerOf, type World } from './world.ts'

const one = layerOf('one')
const two = layerOf('two')
const image = imageOf(one, two)
const small = imageOf(one)
const other = repositoryOf('local', 'other')

/** Who may take part. */
const actors: Readonly<Record<string, (world: World) => Promise<void>>> = {
  pusher: (world) => pushAtOnce(world, image),
  'pusher of the small one': (world) => push(world, small),
  'pusher to another repository': (world) => pushAtOnce(world, image, other),
  'pusher that asks first': (world) => pushWhatLacks(world, image),
  deleter: (world) => deleteManifest(world, small),
  'filler of one': (world) => fill(world, one),
  'filler of two': (world) => fill(world, two),
  'collector of one': (world) => collect(world, one),
  'collector of two': (world) => collect(world, two),
  'collector of the other': (world) => collect(world, two, other),
  'evictor of one': (world) => evict(world, one),
  'evictor of two': (world) => evict(world, two),
  'reader of one': (world) => read(world, one),
  'reader of two': (world) => read(world, two),
}

/** What there may be before, none, some or all of it. */
const before: Readonly<Record<string, (world: World) => Promise<void>>> = {
  'one is idle': (world) => given.idle(world, one),
  'two is idle': (world) => given.idle(world, two),
  'two is idle in the other': (world) => given.idle(world, two, other),
  'one is cached': (world) => given.cached(world, one),
  'two is cached for an account': (world) => given.private(world, two),
  'the small one was pushed': (world) => given.image(world, small),
}

const scenes = fc
  .record({
    present: fc.subarray(Object.keys(before)),
    acting: fc.subarray(Object.keys(actors), { minLength: 3, maxLength: 6 }),
  })
  .map(({ present, acting }): Scene & { toString(): string } => ({
    repositories: [app, other, alpine],
    layers: [one, two],
    disk: ['rename', 'sync-folder', 'unlink'],
    prepare: async (world) => {
      for (const name of present) await before[name]?.(world)
    },
    actors: Object.fromEntries(acting.map((name) => [name, actors[name] ?? assert.fail()])),
    afterwards: (world) => pushAtOnce(world, image),
    toString: () => `${acting.join(', ')}; where ${present.join(', ') || 'nothing is here'}`,
  }))

const crashes = fc.record({
  kind: fc.constantFrom('killed' as const, 'power' as const),
  coins: fc.infiniteStream(fc.boolean()),
})

for (const [name, open] of Object.entries(catalogs)) {
  const openCatalog = open()

  test(`whoever works at once, in whatever order: nothing is lost (${name})`, async () => {
    await fc.assert(
      fc.asyncProperty(scenes, fc.scheduler(), async (scene, scheduler) => {
        assertNoLoss(await playOnce({ ...scene, openCatalog }, scheduler))
      }),
      { numRuns: 400 },
    )
  })

  test(`whoever works at once, until a crash: nothing is lost (${name})`, async () => {
    await fc.assert(
      fc.asyncProperty(scenes, fc.scheduler(), crashes, async (scene, scheduler, { kind, coins }) => {
        const keeps = () => coins.next().value ?? true
        assertNoLoss(await playUntilACrash({ ...scene, openCatalog }, scheduler, { kind, keeps }))
      }),
      { numRuns: 400 },
    )
  })
}

test('without the lock of a digest, some order of those at work loses something', async (t) => {
  const openDoor = plainDoor({ locks: false })
  const problems: string[] = []
  for (const [scene, scheduler] of fc.sample(fc.tuple(scenes, fc.scheduler()), { numRuns: 400, seed: 7 })) {
    problems.push(...(await playOnce({ ...scene, openDoor }, scheduler)).problems)
  }
  const count = Map.groupBy(problems, (problem) => problem)
  t.diagnostic([...count].map(([problem, times]) => `${times.length} times ${problem}`).join('; '))
  assert.ok(problems.some((problem) => problem.startsWith('an acknowledged manifest of')))
})

function assertNoLoss({ problems, schedule }: Loss): void {
  assert.deepEqual(problems, [], `after ${schedule.join(', ')}`)
}
