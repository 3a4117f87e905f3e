import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Play, playFill } from './fill-play.ts'
import { type Answer, answerKinds } from './upstream.ts'

const answer = fc.record({
  kind: fc.constantFrom(...(Object.keys(answerKinds) as Answer['kind'][])),
  pieces: fc.nat(5),
})
const plays: fc.Arbitrary<Play> = fc.record({
  size: fc.constantFrom('small' as const, 'large' as const),
  answers: fc.tuple(
    fc.array(answer, { minLength: 1, maxLength: 3 }),
    fc.array(answer, { minLength: 1, maxLength: 3 }),
  ),
  clients: fc.array(
    fc.record({
      way: fc.constantFrom(0 as const, 1 as const),
      claim: fc.constantFrom(0, 0, 0, undefined, -3, 3),
      leavesAfter: fc.option(fc.nat(4), { nil: undefined, freq: 2 }),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  pushes: fc.boolean(),
  evicts: fc.boolean(),
  stops: fc.boolean(),
  room: fc.option(fc.constantFrom(0, 500, 50_000), { nil: undefined, freq: 5 }),
  failsAt: fc.option(fc.nat(20), { nil: undefined, freq: 5 }),
  rivals: fc.array(fc.record({ isWanted: fc.tuple(fc.boolean(), fc.boolean()), steps: fc.nat(4) }), {
    maxLength: 2,
  }),
})

test('fills: whatever upstreams, clients, disk and pushes do, in whatever order', async (t) => {
  // Nobody waits for real time, and a seed replays a play to the letter.
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] })
  t.mock.method(performance, 'now', () => Date.now())
  await fc.assert(
    fc.asyncProperty(plays, fc.scheduler(), async (play, scheduler) => {
      const { problems, schedule } = await playFill(play, scheduler, (ms) => t.mock.timers.tick(ms))
      assert.deepEqual(problems, [], `after ${schedule.join(', ')}`)
    }),
    { numRuns: 500 },
  )
})
