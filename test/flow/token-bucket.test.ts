import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { TokenBucket } from '../../src/flow/token-bucket.ts'

/** A clock that stands still until it is told to go on; timers and the monotonic clock go together. */
function mockClock(t: TestContext): (milliseconds: number) => Promise<void> {
  let now = 10_000
  t.mock.timers.enable({ apis: ['setTimeout'] })
  t.mock.method(performance, 'now', () => now)
  return async (milliseconds) => {
    for (let passed = 0; passed < milliseconds; passed += 1) {
      now += 1
      t.mock.timers.tick(1)
      await new Promise(setImmediate)
    }
  }
}

test('the rate holds over many takes', async (t) => {
  const pass = mockClock(t)
  const bucket = new TokenBucket(1000)
  let taken = 0
  const taker = async () => {
    for (;;) {
      await bucket.take(50)
      taken += 50
    }
  }
  void taker()
  await pass(1000)
  assert.ok(taken >= 1000 && taken <= 1150, `${taken} in a second at 1000 per second, 100 saved up`)
  await pass(1000)
  assert.ok(taken >= 2000 && taken <= 2150, `${taken} in two seconds`)
})

test('takers share in the order in which they came', async (t) => {
  const pass = mockClock(t)
  const bucket = new TokenBucket(1000)
  await bucket.take(100)
  const order: string[] = []
  for (const name of ['a', 'b', 'c']) void bucket.take(100).then(() => order.push(name))
  await pass(99)
  assert.deepEqual(order, [])
  await pass(1)
  assert.deepEqual(order, ['a'])
  await pass(100)
  assert.deepEqual(order, ['a', 'b'])
  await pass(100)
  assert.deepEqual(order, ['a', 'b', 'c'])
})

test('two greedy takers get the same share', async (t) => {
  const pass = mockClock(t)
  const bucket = new TokenBucket(1000)
  const taken = { one: 0, other: 0 }
  const taker = async (name: keyof typeof taken) => {
    for (;;) {
      await bucket.take(20)
      taken[name] += 20
    }
  }
  void taker('one')
  void taker('other')
  await pass(1000)
  assert.ok(Math.abs(taken.one - taken.other) <= 20, JSON.stringify(taken))
})

test('an idle time saves up a tenth of a second, no more', async (t) => {
  const pass = mockClock(t)
  const bucket = new TokenBucket(1000)
  await pass(60_000)
  const done = t.mock.fn()
  void bucket.take(100).then(done)
  await new Promise(setImmediate)
  assert.equal(done.mock.callCount(), 1, 'what was saved up is there at once')
  void bucket.take(100).then(done)
  await pass(99)
  assert.equal(done.mock.callCount(), 1)
  await pass(1)
  assert.equal(done.mock.callCount(), 2)
})

test('a taker that leaves rejects with the reason; its units are gone', async (t) => {
  const pass = mockClock(t)
  const bucket = new TokenBucket(1000)
  await bucket.take(100)
  const controller = new AbortController()
  const leaving = bucket.take(100, controller.signal)
  const reason = new Error('left')
  controller.abort(reason)
  await assert.rejects(leaving, (error) => error === reason)
  const done = t.mock.fn()
  void bucket.take(100).then(done)
  await pass(199)
  assert.equal(done.mock.callCount(), 0)
  await pass(1)
  assert.equal(done.mock.callCount(), 1)
})
