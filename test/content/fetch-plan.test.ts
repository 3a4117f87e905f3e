// What a free connection brings next. Neighbours that were thought of: nobody reads, one reads on, one waits far ahead, one
// waits in the middle of what somebody brings, parts only, nothing is left but what a slow one has before it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type FetchState,
  isMissing,
  nextSpan,
  type UnderWay,
  type Want,
} from '../../src/content/fetch-plan.ts'
import { type ByteInterval, Ranges } from '../../src/storage/ranges.ts'

const size = 1000
const all: Want = { start: 0, end: size, isWaiting: false }

function present(...intervals: readonly (readonly [number, number])[]): Ranges {
  const ranges = new Ranges()
  for (const [start, end] of intervals) ranges.add(start, end)
  return ranges
}

function state(about: Partial<FetchState> = {}): FetchState {
  const usual = { size, present: present(), underWay: [], wants: [all], bringsAll: true }
  return { ...usual, length: 100, smallest: 10, ahead: 400, ...about }
}

function underWay(position: number, until: number, reach = 0): UnderWay {
  return { position, until, reach }
}

function span(about: Partial<FetchState>): [number, number] | undefined {
  const next = nextSpan(state(about))
  return next && [next.start, next.end]
}

test('the first span is the front, the next one lies behind what is under way', () => {
  assert.deepEqual(span({}), [0, 100])
  assert.deepEqual(span({ underWay: [underWay(0, 100)] }), [100, 200])
  assert.deepEqual(
    span({ present: present([0, 50]), underWay: [underWay(50, 100), underWay(100, 200)] }),
    [200, 300],
  )
})

test('a hole ends where bytes are that are here, or on their way', () => {
  assert.deepEqual(span({ present: present([0, 20], [60, 200]) }), [20, 60])
  assert.deepEqual(span({ present: present([0, 20]), underWay: [underWay(70, 200)] }), [20, 70])
})

test('what would be left of a gap goes with it', () => {
  assert.deepEqual(span({ present: present([104, size]) }), [0, 104])
  assert.deepEqual(span({ present: present([110, size]) }), [0, 100])
})

test('nothing begins far behind what is missed first, unless somebody waits there', () => {
  const far = { underWay: [underWay(0, 500, 1000)], present: present() }
  assert.equal(span(far), undefined)
  assert.deepEqual(span({ ...far, wants: [all, { start: 700, end: size, isWaiting: true }] }), [700, 800])
})

test('whoever waits where nothing comes soon goes before the front, and the one who would come there later ends there', () => {
  const slow = underWay(0, size, 50)
  const next = nextSpan(state({ underWay: [slow], wants: [{ start: 300, end: size, isWaiting: true }] }))
  assert.deepEqual(next, { start: 300, end: 400, isWanted: true, isUrgent: true, cuts: slow, distance: 0 })
  const near = { underWay: [underWay(260, size, 50)], wants: [{ start: 300, end: size, isWaiting: true }] }
  assert.notDeepEqual(span(near), [300, 400])
})

test('parts that somebody reads come first, and the rest as nobody wants it, or not at all', () => {
  const part = { wants: [{ start: 400, end: 450, isWaiting: true }] }
  assert.deepEqual(span(part), [400, 450])
  const rest = nextSpan(state({ ...part, present: present([400, 450]) }))
  assert.deepEqual([rest?.start, rest?.isWanted], [0, false])
  assert.equal(span({ ...part, present: present([400, 450]), bringsAll: false }), undefined)
  const site = { size, present: present([400, 450]), isDivisible: true, ...part }
  assert.deepEqual(
    [true, false].map((bringsAll) => isMissing({ ...site, bringsAll })),
    [true, false],
  )
})

test('where nothing else is left, half of what one has before it that lags behind, and of no other', () => {
  const [here, slow] = [present([0, 200]), underWay(200, size, 10)]
  assert.equal(span({ present: here, underWay: [slow] }), undefined)
  assert.equal(span({ present: here, underWay: [slow], wants: [] }), undefined)
  const lagging = { ...slow, isLagging: true }
  const next = nextSpan(state({ present: here, underWay: [lagging] }))
  assert.deepEqual([next?.start, next?.end, next?.cuts], [600, 1000, lagging])
})

const interval = fc
  .tuple(fc.nat(size), fc.nat(size))
  .map(([a, b]) => ({ start: Math.min(a, b), end: Math.max(a, b) }))
const connection = fc
  .tuple(interval, fc.nat(size))
  .map(([{ start, end }, reach]) => underWay(start, end, reach))
const want = fc.tuple(interval, fc.boolean()).map(([one, isWaiting]) => ({ ...one, isWaiting }))
const states = fc.record({
  present: fc.array(interval, { maxLength: 4 }),
  underWay: fc.array(connection, { maxLength: 4 }),
  wants: fc.array(want, { maxLength: 4 }),
  bringsAll: fc.boolean(),
  length: fc.integer({ min: 1, max: size }),
})

/** Those of which no two overlap, nor bytes that are here. */
function apart(connections: readonly UnderWay[], here: Ranges): UnderWay[] {
  const taken = present(...[...here].map(({ start, end }) => [start, end] as const))
  return connections.filter(({ position, until }) => {
    const free = taken.gaps(position, until)
    const isFree =
      until > position && free.length === 1 && free[0]?.start === position && free[0].end === until
    if (isFree) taken.add(position, until)
    return isFree
  })
}

const overlaps = (one: ByteInterval, start: number, end: number): boolean =>
  one.start < end && one.end > start

test('a span is missing, within the blob, and brought by nobody but whom it cuts short', () => {
  fc.assert(
    fc.property(states, (drawn) => {
      const here = present(...drawn.present.map(({ start, end }) => [start, end] as const))
      const connections = apart(drawn.underWay, here)
      const next = nextSpan(state({ ...drawn, present: here, underWay: connections }))
      if (!next) return
      assert.ok(next.start >= 0 && next.start < next.end && next.end <= size)
      assert.deepEqual(here.gaps(next.start, next.end), [{ start: next.start, end: next.end }])
      for (const one of connections) {
        if (one === next.cuts) assert.ok(next.start > one.position && next.end <= one.until)
        else assert.ok(!overlaps(next, one.position, one.until))
      }
      const isOfWant = drawn.wants.some((one) => overlaps(next, one.start, one.end))
      assert.ok(drawn.bringsAll || isOfWant || next.cuts)
    }),
    { numRuns: 3000 },
  )
})

test('span after span, by any number of connections, all that is to be brought comes, once', () => {
  fc.assert(
    fc.property(
      states,
      fc.integer({ min: 1, max: 5 }),
      fc.infiniteStream(fc.nat(99)),
      (drawn, most, choices) => {
        const here = present(...drawn.present.map(({ start, end }) => [start, end] as const))
        const before = here.total
        const working: { position: number; until: number; reach: number }[] = []
        let brought = 0
        const about = () => state({ ...drawn, present: here, underWay: working })
        for (let steps = 0; steps < 20_000; steps += 1) {
          const next = working.length < most ? nextSpan(about()) : undefined
          if (next) {
            const cut = working.find((one) => one === next.cuts)
            if (cut) cut.until = next.start
            working.push({ position: next.start, until: next.end, reach: 0 })
            continue
          }
          if (working.length === 0) break
          const choice = choices.next().value ?? 0
          const one = working[choice % working.length]
          assert.ok(one)
          const end = Math.min(one.until, one.position + 1 + choice)
          assert.deepEqual(here.gaps(one.position, end), [{ start: one.position, end }])
          here.add(one.position, end)
          brought += end - one.position
          one.position = end
          if (one.position >= one.until) working.splice(working.indexOf(one), 1)
        }
        assert.equal(working.length, 0)
        assert.equal(isMissing({ ...about(), isDivisible: true }), false)
        assert.equal(here.total - before, brought)
      },
    ),
    { numRuns: 500 },
  )
})
