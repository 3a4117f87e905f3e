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
  assert.ok(taken >= 1000 && taken <= 1300, `${taken} in a second at 1000 per second, 250 saved up`)
  await pass(1000)
  assert.ok(taken >= 2000 && taken <= 2300, `${taken} in two seconds`)
})

test('takers share in the order in which they came', async (t) => {
  const pass = mockClock(t)
  const bucket = new TokenBucket(1000)
  await bucket.take(250)
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

test('an idle time saves up a quarter of a second, no more', async (t) => {
  const pass = mockClock(t)
  const bucket = new TokenBucket(1000)
  await pass(60_000)
  const done = t.mock.fn()
  void bucket.take(250).then(done)
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
  await bucket.take(250)
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

test('what is owed is waited for by those who take later, and by nobody else', async (t) => {
  const pass = mockClock(t)
  const bucket = new TokenBucket(1000)
  await bucket.take(250)
  const done = t.mock.fn()
  void bucket.take(100).then(done)
  bucket.charge(500)
  void bucket.take(100).then(done)
  await pass(100)
  assert.equal(done.mock.callCount(), 1, 'what was taken before waits no longer for it')
  await pass(599)
  assert.equal(done.mock.callCount(), 1)
  await pass(1)
  assert.equal(done.mock.callCount(), 2)
})

/** Takes pieces of 64 for `spanMs`, leaves in the middle of a piece, and comes back after a round trip. */
async function takeSpans(
  bucket: TokenBucket,
  { spanMs, gapMs }: { spanMs: number; gapMs: number },
  take: (n: number) => void,
) {
  for (;;) {
    const left = new AbortController()
    setTimeout(() => left.abort(new Error('its turn is over')), spanMs)
    try {
      // A span is asked for when what came before is due: else each turn would begin with bytes that nobody paid for.
      await bucket.take(0, left.signal)
      for (;;) {
        // Bytes are counted as they come; the next ones are not asked for before these are due.
        take(64)
        await bucket.take(64, left.signal)
      }
    } catch {
      await new Promise((resolve) => setTimeout(resolve, gapMs))
    }
  }
}

for (const [what, takers, spanMs, gapMs] of [
  ['one connection, with a round trip between spans of a second', 1, 1000, 200],
  ['eight at a time, each in short turns', 8, 300, 100],
  ['thirty that are cut all the time', 30, 120, 50],
] as const) {
  test(`the rate is within 5 % over ten seconds: ${what}`, async (t) => {
    const pass = mockClock(t)
    const bucket = new TokenBucket(5000)
    let taken = 0
    for (let one = 0; one < takers; one += 1) {
      void takeSpans(bucket, { spanMs, gapMs }, (bytes) => {
        taken += bytes
      })
    }
    let owed = 0
    for (let second = 1; second <= 20; second += 1) {
      await pass(1000)
      // Manifests and tokens come between, and wait for nobody.
      bucket.charge(150)
      owed += 150
      const share = (taken + owed) / (second * 5000)
      if (second >= 10) assert.ok(Math.abs(share - 1) <= 0.05, `${share} of the rate after ${second} s`)
    }
  })
}
