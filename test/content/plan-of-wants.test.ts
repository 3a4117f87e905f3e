/** What is asked for first of a blob of which parts are wanted; the plan as a whole is tested with the fills. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type FetchState, nextSpan, type Want } from '../../src/content/fetch-plan.ts'
import { Ranges } from '../../src/storage/ranges.ts'

const size = 10_000
const smallest = 100

function stateOf(wants: readonly Want[], bringsAll: boolean, present = new Ranges()): FetchState {
  return { size, present, underWay: [], wants, bringsAll, length: 1000, smallest, ahead: 5000 }
}

const wanted: fc.Arbitrary<Want> = fc
  .tuple(fc.nat(size - 1), fc.integer({ min: 1, max: 500 }))
  .map(([start, length]) => ({ start, end: Math.min(start + length, size), isWaiting: true }))

test('where the rest does not come: what is wanted, each byte once, and not one more', () => {
  fc.assert(
    fc.property(fc.array(wanted, { minLength: 1, maxLength: 20 }), (wants) => {
      const present = new Ranges()
      let bytes = 0
      for (
        let span = nextSpan(stateOf(wants, false, present));
        span;
        span = nextSpan(stateOf(wants, false, present))
      ) {
        present.add(span.start, span.end)
        bytes += span.end - span.start
      }
      const asked = new Ranges()
      for (const { start, end } of wants) asked.add(start, end)
      assert.deepEqual([...present], [...asked])
      assert.equal(bytes, asked.total)
    }),
    { numRuns: 30 },
  )
})

test('where the rest comes anyway: a byte here and there makes no thousand questions', () => {
  fc.assert(
    fc.property(fc.array(wanted, { minLength: 500, maxLength: 600 }), (wants) => {
      const present = new Ranges()
      let questions = 0
      for (const want of wants.map(({ start }) => ({ start, end: start + 1, isWaiting: true }))) {
        for (let span = nextSpan(stateOf([want], true, present)); span?.isWanted; ) {
          present.add(span.start, span.end)
          questions += 1
          span =
            present.presentUntil(want.start) > want.start
              ? undefined
              : nextSpan(stateOf([want], true, present))
        }
      }
      // What is shorter than worth it fills a hole between others: there are no more of these than of the others, and one.
      assert.ok(questions <= (2 * size) / smallest + 2, `${questions} questions`)
      assert.ok(wants.every(({ start }) => present.presentUntil(start) > start))
    }),
    { numRuns: 30 },
  )
})
