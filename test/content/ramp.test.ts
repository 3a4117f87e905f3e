// How many connections help. Neighbours that were thought of: a line that is full, connections that are capped one by one, a
// line that is full with some of them, an upstream that refuses more, a line that is fast, a pause of this machine.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Lane, Ramp } from '../../src/content/ramp.ts'

const stepMs = 10
const roundTripMs = 100

/** A line that brings so many bytes a second by so many connections, on a clock of its own. */
function line(t: TestContext, rateOf: (lanes: number) => number, maximum = 8) {
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const ramp = new Ramp({ maximum })
  const lanes: Lane[] = []
  let most = 0
  /** One blob, to which connections are added as the ramp says, and taken away. */
  const run = (seconds: number): number => {
    if (lanes.length === 0) lanes.push(ramp.enter(roundTripMs))
    for (const until = now + seconds * 1000; now < until; now += stepMs) {
      while (ramp.mayAdd) lanes.push(ramp.enter(roundTripMs))
      while (ramp.isSurplus) lanes.pop()?.[Symbol.dispose]()
      most = Math.max(most, lanes.length)
      const bytes = (rateOf(lanes.length) / lanes.length) * (stepMs / 1000)
      for (const lane of lanes) lane.received(bytes)
    }
    return lanes.length
  }
  const end = (): void => {
    for (const lane of lanes.splice(0)) lane[Symbol.dispose]()
  }
  const pass = (ms: number): void => {
    now += ms
  }
  return { ramp, run, end, pass, most: () => most }
}

test('connections that are capped one by one: all of them, within seconds', (t) => {
  const { run } = line(t, (lanes) => lanes * 600_000)
  assert.equal(run(2), 8)
  assert.equal(run(60), 8)
})

test('a line that is full by one: some are tried, and seldom again', (t) => {
  const { run, most } = line(t, () => 2_500_000)
  assert.equal(run(5), 1)
  assert.equal(most(), 4)
})

test('a line that is full by four has no more than four for long', (t) => {
  const { run } = line(t, (lanes) => Math.min(lanes, 4) * 600_000)
  run(8)
  let most = 0
  for (let look = 0; look < 10; look += 1) most += run(1) > 4 ? 1 : 0
  assert.ok(most <= 3, String(most))
})

test('a fast line has one', (t) => {
  const { run, most } = line(t, (lanes) => lanes * 50_000_000)
  assert.equal(run(10), 1)
  assert.equal(most(), 1)
})

test('limits.connections is the most', (t) => {
  const { run } = line(t, (lanes) => lanes * 600_000, 3)
  assert.equal(run(20), 3)
})

test('where more were dismissed by mistake they come back', (t) => {
  let isDisturbed = false
  const { run } = line(t, (lanes) => (isDisturbed && lanes > 2 ? 1_200_000 : lanes * 600_000))
  run(1)
  isDisturbed = true
  run(2)
  isDisturbed = false
  assert.equal(run(4), 8)
})

test('an upstream that gives nothing to a further one is left alone for a while', (t) => {
  const { ramp, run, pass } = line(t, (lanes) => lanes * 600_000)
  assert.equal(run(0.2), 1)
  ramp.refused()
  assert.equal(run(5), 1)
  assert.equal(ramp.hasRoom, false)
  pass(10_000)
  assert.equal(run(3), 8)
})

test('what helped is known for the next blob, and forgotten after a while', (t) => {
  const { ramp, run, end, pass } = line(t, (lanes) => lanes * 600_000)
  run(3)
  end()
  pass(60_000)
  using _next = ramp.enter(roundTripMs)
  assert.equal(ramp.mayAdd, true)
  _next[Symbol.dispose]()
  pass(400_000)
  using _later = ramp.enter(roundTripMs)
  assert.equal(ramp.mayAdd, false)
})

test('what connections brought that did not help is forgotten as well, where the line is slower by then', (t) => {
  let rate = 2_500_000
  const { run, end, pass, most } = line(t, () => rate)
  while (run(0.01) > 1 || most() === 1);
  end()
  pass(400_000)
  rate = 1_000_000
  assert.equal(run(5), 1)
})
