import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { AgeClock } from '../../src/flow/age-clock.ts'

const windowMs = 1000
const epoch = 1_700_000_000_000
const year = 365 * 24 * 60 * 60_000

function start() {
  const time = { passed: 0, wall: epoch }
  const clock = new AgeClock(windowMs, { wall: () => time.wall, monotonic: () => 5 + time.passed })
  const pass = (ms: number) => {
    time.passed += ms
    time.wall += ms
  }
  return { time, clock, pass }
}

test('without a jump it is the time of day', () => {
  const { time, clock, pass } = start()
  for (const ms of [0, 1, 999, 1, 5000, 12]) {
    pass(ms)
    assert.equal(clock.now(), time.wall)
  }
  assert.equal(clock.uptimeMs, 6013)
})

test('a step forward counts when it is as old as the window, and not much later', () => {
  const { time, clock, pass } = start()
  clock.now()
  time.wall += 10 * year
  for (const ms of [0, 400, 599]) {
    pass(ms)
    assert.equal(clock.now(), time.wall - 10 * year)
  }
  for (let passed = 0; passed <= windowMs; passed += 100) {
    pass(100)
    clock.now()
  }
  assert.equal(clock.now(), time.wall)
})

test('a step back counts at once', () => {
  const { time, clock, pass } = start()
  clock.now()
  time.wall -= 10 * year
  pass(10)
  assert.equal(clock.now(), time.wall)
})

test('whatever the clock does where it is looked at, nothing is older by it than it is', () => {
  const moves = fc.array(
    fc.record({ ms: fc.integer({ min: 0, max: 700 }), step: fc.integer({ min: -year, max: year }) }),
  )
  fc.assert(
    fc.property(moves, (chosen) => {
      const { time, clock, pass } = start()
      const stamps: { at: number; passed: number }[] = []
      for (const { ms, step } of chosen) {
        pass(ms)
        clock.now()
        stamps.push({ at: time.wall, passed: time.passed })
        time.wall += step
        const now = clock.now()
        for (const { at, passed } of stamps) {
          const age = time.passed - passed
          if (age < windowMs) assert.ok(now - at <= age, `${now - at} ms old after ${age} ms`)
        }
      }
    }),
  )
})
