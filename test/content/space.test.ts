/**
 * Who gets room, and when. Thought of: one who waits and another who needs little; a bound that is passed already; bytes whose
 * record has gone and whose file has not; a promise and what is taken of it; room that is only ahead.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import pino from 'pino'
import { Space } from '../../src/content/space.ts'

const unit = 1024 * 1024

/** A space of which the test says how it stands. */
function spaceOf({
  cached = 0,
  free = 1000,
  maxBytes = 100,
  minFree = 0,
  onWait = (_space: Space): void => {},
} = {}) {
  const state = { cached: cached * unit, unrecorded: 0, free: free * unit, waits: 0 }
  const space: Space = new Space({
    limits: { maxBytes: maxBytes * unit, minFreeBytes: minFree * unit },
    disk: async () => ({ bytes: state.free, files: { free: 0, total: 0 } }),
    partials: { find: async () => undefined, list: async () => [], remove: async () => {} },
    cachedBytes: async () => state.cached,
    unrecordedBytes: async () => state.unrecorded,
    onWait: () => {
      state.waits += 1
      onWait(space)
    },
    patienceMs: 100_000,
    logger: pino({ enabled: false }),
  })
  const goes = (bytes: number) => {
    state.cached -= bytes * unit
    space.freed({ bytes: bytes * unit, files: 1 })
  }
  return { space, state, goes }
}

const settled = () => new Promise((resolve) => setImmediate(resolve))

test('who comes later and needs little does not pass one who waits', async () => {
  const { space, state, goes } = spaceOf({ cached: 99 })
  using large = space.reserve('fill', () => 0)
  using small = space.reserve('fill', () => 0)
  const order: string[] = []
  const both = [
    large.reserve(4 * unit).then(() => order.push('large')),
    settled().then(() => small.reserve(unit).then(() => order.push('small'))),
  ]
  while (state.waits < 2) await settled()
  assert.equal((await space.demand())?.bytes, 3 * unit)
  goes(2)
  assert.equal((await space.demand())?.bytes, unit)
  assert.deepEqual(order, [])
  goes(1)
  assert.equal((await space.demand())?.bytes, unit)
  await settled()
  assert.deepEqual(order, ['large'])
  goes(1)
  await space.demand()
  await Promise.all(both)
})

test('where the limit is passed already, nobody waits for all of that, and it is not passed by more', async () => {
  const { space, state, goes } = spaceOf({ cached: 150 })
  using room = space.reserve('fill', () => 0)
  const reserving = room.reserve(2 * unit)
  while (state.waits < 1) await settled()
  assert.equal((await space.demand())?.bytes, 2 * unit)
  goes(2)
  assert.deepEqual(await space.demand().then((demand) => demand && [demand.isAwaited, demand.isUrgent]), [
    false,
    true,
  ])
  assert.equal(await reserving, true)
  assert.equal(await space.countedBytes(), 150 * unit)
})

test('bytes count until their file has gone', async () => {
  const { space, state } = spaceOf({ cached: 100 })
  const unlinked = Promise.withResolvers<void>()
  const going = space.leaving(10 * unit, async () => {
    state.cached -= 10 * unit
    await unlinked.promise
  })
  assert.equal(await space.countedBytes(), 100 * unit)
  unlinked.resolve()
  await going
  assert.equal(await space.countedBytes(), 90 * unit)
})

test('all promises stay below the limit together; nothing is taken for them but a first step', async () => {
  const { space } = spaceOf({ cached: 0 })
  using one = space.reserve('fill', () => 0)
  using other = space.reserve('fill', () => 0)
  using push = space.reserve('push', () => 0)
  assert.equal(await one.reserve(60 * unit), true)
  assert.equal(await other.reserve(41 * unit), false)
  assert.equal(await other.reserve(40 * unit), true)
  assert.equal(await push.reserve(500 * unit), true)
  assert.equal(await space.countedBytes(), 32 * unit)
  one.giveBack()
  assert.equal(await other.reserve(100 * unit), true)
})

test('a promise counts what the disk has beside all that is promised, for pushes without minFree', async () => {
  const { space } = spaceOf({ free: 50, minFree: 20, maxBytes: 1000 })
  using push = space.reserve('push', () => 0)
  using fill = space.reserve('fill', () => 0)
  assert.equal(await fill.reserve(31 * unit), false)
  assert.equal(await push.reserve(51 * unit), false)
  assert.equal(await push.reserve(45 * unit), true)
  assert.equal(await fill.reserve(unit), false)
  push.giveBack()
  assert.equal(await fill.reserve(30 * unit), true)
})

test('room that is only ahead is no reason to refuse what is at hand', async () => {
  const disk = spaceOf({ free: 3, onWait: (space) => space.nothingLeft() })
  let written = 0
  using room = disk.space.reserve('push', () => written)
  const answers: boolean[] = []
  for (let end = unit / 2; end <= 3.5 * unit; end += unit / 2) {
    const isThere = await room.take(end)
    answers.push(isThere)
    if (!isThere) continue
    written = end
    disk.state.free = 3 * unit - written
  }
  assert.deepEqual(answers, [true, true, true, true, true, true, false])
})

test('files of which nothing is recorded count for the limit, and what is on its way in or out is among them', async () => {
  const { space, state } = spaceOf({ cached: 10 })
  state.unrecorded = 50 * unit
  assert.equal(await space.countedBytes(), 60 * unit)
  {
    using fill = space.reserve('fill', () => 0)
    assert.equal(await fill.reserve(30 * unit), true)
    assert.equal(await space.countedBytes(), 60 * unit)
  }
  await space.leaving(60 * unit, async () => assert.equal(await space.countedBytes(), 70 * unit))
  state.unrecorded = 90 * unit
  assert.equal((await space.demand())?.why, 'maxSize')
})
