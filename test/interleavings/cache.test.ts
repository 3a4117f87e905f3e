import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { actors, before, CachePlay } from './cache-play.ts'
import { catalogs } from './catalogs.ts'

for (const [name, open] of Object.entries(catalogs)) {
  const openCatalog = open()

  test(`a cache with its limit, whoever works at once, in whatever order: nothing is lost (${name})`, async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] })
    t.mock.method(performance, 'now', () => Date.now())
    let [plays, steps] = [0, 0]
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          present: fc.subarray(Object.keys(before)),
          acting: fc.subarray(Object.keys(actors), { minLength: 3, maxLength: 7 }),
        }),
        fc.scheduler(),
        async (course, scheduler) => {
          const play = new CachePlay(scheduler, openCatalog())
          const { problems, schedule } = await play.run(course, (ms) => t.mock.timers.tick(ms))
          plays += 1
          steps += schedule.length
          assert.deepEqual(problems, [], `after ${schedule.join(', ')}`)
        },
      ),
      { numRuns: 300 },
    )
    t.diagnostic(`${plays} plays of ${steps} steps`)
  })
}
