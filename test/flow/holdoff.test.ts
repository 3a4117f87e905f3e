// Neighbours thought of: what was under way when it began; a time that is told and one that is not; times that are told
// too short again and again; the question that decides is answered, refused, given up, or never ends; whoever waits for
// it leaves; several of them to pass; it is said to be over before its time.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate as settle } from 'node:timers/promises'
import { Holdoff, type Passage, pass } from '../../src/flow/holdoff.ts'

/** Drawn: the most of each wait. */
const random = () => 1
const options = {
  unasked: { firstMs: 120_000, capMs: 900_000, random },
  again: { firstMs: 2000, capMs: 60_000, random },
}

function clock(t: TestContext): { now: number } {
  const clock = { now: 1_000_000 }
  t.mock.method(performance, 'now', () => clock.now)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  return clock
}

function opened(passage: Passage) {
  assert.ok(passage.isOpen)
  return passage.trial
}

const waiting = { patienceMs: 2000, signal: undefined }

test('it lasts as long as it is told; where nobody says, longer each time', (t) => {
  const time = clock(t)
  const holdoff = new Holdoff(options)
  assert.deepEqual([holdoff.isHeld, holdoff.leftMs], [false, 0])
  assert.equal(holdoff.hold(30_000, time.now), true)
  assert.equal(holdoff.leftMs, 30_000)
  time.now += 30_000
  assert.deepEqual([holdoff.isHeld, holdoff.leftMs], [true, 0], 'nobody has said that it is over')
  holdoff.end()
  for (const seconds of [120, 240, 480, 900, 900]) {
    holdoff.hold(undefined, time.now)
    assert.equal(holdoff.leftMs, seconds * 1000)
    time.now += seconds * 1000
  }
  holdoff.end()
  holdoff.hold(undefined, time.now)
  assert.equal(holdoff.leftMs, 120_000, 'from the beginning, once it was over')
})

test('a time that is told too short again and again becomes longer all the same', (t) => {
  const time = clock(t)
  const holdoff = new Holdoff(options)
  const lasted: number[] = []
  for (let count = 0; count < 8; count += 1) {
    holdoff.hold(1000, time.now)
    lasted.push(holdoff.leftMs / 1000)
    time.now += holdoff.leftMs
  }
  assert.deepEqual(lasted, [1, 2, 4, 8, 16, 32, 60, 60])
})

test('what was under way when it began says nothing new, but may know that it lasts longer', (t) => {
  const time = clock(t)
  const holdoff = new Holdoff(options)
  const askedAt = time.now
  time.now += 100
  assert.equal(holdoff.hold(10_000, askedAt), true)
  for (let count = 0; count < 20; count += 1) assert.equal(holdoff.hold(undefined, askedAt), false)
  assert.equal(holdoff.leftMs, 10_000)
  assert.equal(holdoff.hold(20_000, askedAt), false)
  assert.equal(holdoff.leftMs, 20_000)
  time.now += 20_000
  holdoff.hold(10_000, time.now)
  assert.equal(holdoff.leftMs, 10_000, 'it was the first time only')
})

test('a hundred wait: one goes first, and the rest goes when that was answered', async (t) => {
  const time = clock(t)
  const holdoff = new Holdoff(options)
  holdoff.hold(1000, time.now)
  assert.deepEqual(await pass([holdoff], waiting), { isOpen: false, by: holdoff })
  time.now += 1000
  using first = opened(await pass([holdoff], waiting))
  let passed = 0
  const others = Array.from({ length: 100 }, async () => {
    opened(await pass([holdoff], waiting))
    passed += 1
  })
  await settle()
  assert.equal(passed, 0)
  assert.equal(first.worked(), true)
  await Promise.all(others)
  assert.equal(passed, 100)
  assert.equal(first.worked(), false, 'told once')
})

test('a hundred wait, and the first is told to wait: so are they', async (t) => {
  const time = clock(t)
  const holdoff = new Holdoff(options)
  holdoff.hold(1000, time.now)
  time.now += 1000
  using _first = opened(await pass([holdoff], waiting))
  const others = Array.from({ length: 100 }, () => pass([holdoff], waiting))
  holdoff.hold(5000, time.now)
  for (const passage of await Promise.all(others)) assert.deepEqual(passage, { isOpen: false, by: holdoff })
})

test('the first has found out nothing: the next one goes, and one alone', async (t) => {
  const time = clock(t)
  const holdoff = new Holdoff(options)
  holdoff.hold(1000, time.now)
  time.now += 1000
  const first = opened(await pass([holdoff], waiting))
  let gone = 0
  const others = Array.from({ length: 10 }, async () => {
    using trial = opened(await pass([holdoff], waiting))
    gone += 1
    await settle()
    if (gone === 3) trial.worked()
  })
  first[Symbol.dispose]()
  await settle()
  assert.ok(gone >= 1)
  await Promise.all(others)
  first[Symbol.dispose]()
  assert.equal(holdoff.isHeld, false)
})

test('nobody waits for the first for ever, nor after he has left', async (t) => {
  const time = clock(t)
  const holdoff = new Holdoff(options)
  holdoff.hold(1000, time.now)
  time.now += 1000
  using _first = opened(await pass([holdoff], waiting))
  const leaving = new AbortController()
  const gone = assert.rejects(pass([holdoff], { ...waiting, signal: leaving.signal }), /left/)
  leaving.abort(new Error('left'))
  await gone
  const late = pass([holdoff], waiting)
  await settle()
  time.now += 2000
  t.mock.timers.tick(2000)
  assert.deepEqual(await late, { isOpen: false, by: holdoff })
})

test('what passes several holds none while it waits for another', async (t) => {
  const time = clock(t)
  const [one, two] = [new Holdoff(options), new Holdoff(options)]
  for (const holdoff of [one, two]) holdoff.hold(1000, time.now)
  time.now += 1000
  using ofTwo = opened(await pass([two], waiting))
  const ofBoth = pass([one, two], waiting)
  await settle()
  assert.equal(one.isTried, false)
  ofTwo.worked()
  opened(await ofBoth).worked()
  assert.deepEqual([one.isHeld, two.isHeld], [false, false])
})

test('it is said to be over before its time: one question finds out, once until it is over', async (t) => {
  const time = clock(t)
  const holdoff = new Holdoff(options)
  holdoff.shorten(time.now)
  const before = time.now
  time.now += 10
  holdoff.hold(undefined, time.now)
  holdoff.shorten(before)
  assert.equal(holdoff.leftMs, 120_000, 'what was asked before knows nothing of it')
  time.now += 10
  holdoff.shorten(time.now)
  assert.equal(holdoff.leftMs, 0)
  using first = opened(await pass([holdoff], waiting))
  holdoff.hold(undefined, time.now)
  holdoff.shorten(time.now)
  assert.equal(holdoff.leftMs, 240_000, 'it was not so')
  first.worked()
  holdoff.end()
  holdoff.hold(undefined, time.now)
  holdoff.shorten(time.now)
  assert.equal(holdoff.leftMs, 0)
})
