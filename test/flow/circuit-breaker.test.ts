import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { delay } from '../../src/flow/abortable.ts'
import { CircuitBreaker } from '../../src/flow/circuit-breaker.ts'
import { keptByThoseWhoLeave } from '../support/heap.ts'

const settled = () => new Promise(setImmediate)

/** Time goes on by ticks alone; returns what lets it. */
function stopTheClock(t: TestContext): (milliseconds: number) => Promise<void> {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { now } = performance
  let elapsed = 0
  // A mock would remember each call.
  performance.now = () => elapsed
  t.after(() => {
    performance.now = now
  })
  return async (milliseconds) => {
    elapsed += milliseconds
    t.mock.timers.tick(milliseconds)
    await settled()
  }
}

/** A breaker that opens at three failures and probes a peer that is dead until `peer.isBack`. */
function breakerFor(t: TestContext) {
  const pass = stopTheClock(t)
  const peer = { isBack: false }
  const changes: string[] = []
  const stillDead = new Error('still dead')
  const probe = t.mock.fn(async (_signal: AbortSignal, _silenceMs?: number) => {
    if (!peer.isBack) throw stillDead
  })
  const breaker = new CircuitBreaker({
    threshold: 3,
    probeEveryMs: [100, 400],
    probe,
    onChange: (state) => changes.push(state),
    random: () => 1,
  })
  return { breaker, probe, peer, changes, stillDead, pass }
}

function failTimes(breaker: CircuitBreaker, times: number): void {
  for (let i = 1; i <= times; i += 1) breaker.failed(new Error(`failure ${i}`))
}

test('it opens at the threshold, not before, and names the failure that did it', async (t) => {
  const { breaker, changes } = breakerFor(t)
  failTimes(breaker, 2)
  assert.equal(breaker.isOpen, false)
  failTimes(breaker, 1)
  assert.equal(breaker.isOpen, true)
  assert.match(String(breaker.cause), /failure 1/)
  failTimes(breaker, 5)
  assert.deepEqual(changes, ['open'])
  await breaker[Symbol.asyncDispose]()
})

test('an answer between starts the count anew', async (t) => {
  const { breaker } = breakerFor(t)
  for (let i = 0; i < 10; i += 1) {
    failTimes(breaker, 2)
    breaker.succeeded()
  }
  assert.equal(breaker.isOpen, false)
})

test('probes come at doubling intervals up to the last figure', async (t) => {
  const { breaker, probe, stillDead, pass } = breakerFor(t)
  failTimes(breaker, 3)
  assert.equal(probe.mock.callCount(), 0, 'the peer is given some time first')
  for (const [index, waitMs] of [100, 200, 400, 400].entries()) {
    await pass(waitMs - 1)
    assert.equal(probe.mock.callCount(), index)
    await pass(1)
    assert.equal(probe.mock.callCount(), index + 1)
    assert.equal(breaker.isOpen, true)
  }
  assert.equal(breaker.cause, stillDead)
  await breaker[Symbol.asyncDispose]()
})

test('a probe that succeeds closes it; the next opening needs all failures again', async (t) => {
  const { breaker, probe, peer, changes, pass } = breakerFor(t)
  failTimes(breaker, 4)
  await pass(100)
  peer.isBack = true
  await pass(200)
  assert.equal(breaker.isOpen, false)
  await pass(10_000)
  assert.equal(probe.mock.callCount(), 2, 'no probe while it is closed')
  failTimes(breaker, 2)
  assert.equal(breaker.isOpen, false)
  failTimes(breaker, 1)
  assert.equal(breaker.isOpen, true)
  assert.deepEqual(changes, ['open', 'closed', 'open'])
  peer.isBack = false
  await pass(100)
  assert.equal(probe.mock.callCount(), 3, 'the intervals start at the first figure again')
  await breaker[Symbol.asyncDispose]()
})

test('disposal ends the wait between two probes; later failures open nothing', async (t) => {
  const { breaker, probe, pass } = breakerFor(t)
  failTimes(breaker, 3)
  await breaker[Symbol.asyncDispose]()
  assert.equal(breaker.isOpen, false)
  failTimes(breaker, 5)
  await pass(10_000)
  assert.equal(probe.mock.callCount(), 0)
  assert.equal(breaker.isOpen, false)
})

test('disposal aborts a probe under way and waits for it', async (t) => {
  const { breaker, probe, pass } = breakerFor(t)
  const ended = Promise.withResolvers<void>()
  probe.mock.mockImplementation(() => ended.promise)
  failTimes(breaker, 3)
  await pass(100)
  const disposed = t.mock.fn()
  const disposing = breaker[Symbol.asyncDispose]().then(disposed)
  assert.equal(probe.mock.calls[0]?.arguments[0].aborted, true)
  await settled()
  assert.equal(disposed.mock.callCount(), 0)
  ended.reject(new Error('aborted'))
  await disposing
})

test('a peer that has just gone is waited for, and whoever waits goes on when it is back', async (t) => {
  const { breaker, peer, pass } = breakerFor(t)
  breaker.succeeded()
  failTimes(breaker, 3)
  let isOver = false
  const waiting = breaker.comeBack(performance.now(), 60_000).then(() => {
    isOver = true
  })
  await pass(100)
  assert.equal(isOver, false)
  peer.isBack = true
  await pass(200)
  await waiting
  assert.equal(breaker.isOpen, false)
})

test('a peer that stays away is waited for no longer than the grace, and nobody need stay for that', async (t) => {
  const { breaker, pass } = breakerFor(t)
  breaker.succeeded()
  failTimes(breaker, 3)
  const leaving = new AbortController()
  const left = breaker.comeBack(performance.now(), 60_000, leaving.signal)
  leaving.abort(new Error('left'))
  await assert.rejects(left, /left/)
  const waiting = breaker.comeBack(performance.now(), 150)
  await pass(151)
  await waiting
  assert.equal(breaker.isOpen, true)
  await breaker[Symbol.asyncDispose]()
})

test('a peer that was never there, or has been away for too long when it is asked for, is not waited for', async (t) => {
  const { breaker } = breakerFor(t)
  failTimes(breaker, 3)
  await breaker.comeBack(performance.now(), 60_000)
  breaker.succeeded()
  await breaker.comeBack(performance.now(), 0)
  await breaker.comeBack(performance.now() + 60_000, 60_000)
  assert.equal(breaker.isOpen, true)
  await breaker[Symbol.asyncDispose]()
})

test('while somebody waits, probes come at least every three seconds', async (t) => {
  const pass = stopTheClock(t)
  const probe = t.mock.fn(async () => {
    throw new Error('still dead')
  })
  const breaker = new CircuitBreaker({ threshold: 1, probeEveryMs: [1000, 60_000], probe, random: () => 1 })
  breaker.succeeded()
  breaker.failed(new Error('gone'))
  const leaving = new AbortController()
  const waiting = breaker.comeBack(performance.now(), 3_600_000, leaving.signal)
  for (const [milliseconds, probes] of [
    [1000, 1],
    [2000, 2],
    [3000, 3],
    [3000, 4],
    [3000, 5],
  ] as const) {
    await pass(milliseconds)
    assert.equal(probe.mock.callCount(), probes)
  }
  leaving.abort(new Error('left'))
  await assert.rejects(waiting, /left/)
  await breaker[Symbol.asyncDispose]()
})

test('thousands who wait for a dead peer and leave keep nothing of the memory', async (t) => {
  const { breaker } = breakerFor(t)
  breaker.succeeded()
  failTimes(breaker, 3)
  const grown = await keptByThoseWhoLeave((signal) => breaker.comeBack(performance.now(), 60_000, signal))
  assert.ok(grown < 1024 * 1024, `${grown} bytes`)
  await breaker[Symbol.asyncDispose]()
})

test('one failure makes it look for the next: it is open within a second of the first', async (t) => {
  for (const how of ['fails', 'is silent'] as const)
    await t.test(`the look ${how}`, async (t) => {
      const { breaker, probe, pass } = breakerFor(t)
      if (how === 'is silent') {
        probe.mock.mockImplementation(async (signal: AbortSignal, silenceMs = 0) => {
          await delay(silenceMs, signal)
          throw new Error('silent')
        })
      }
      failTimes(breaker, 2)
      await pass(249)
      assert.equal(probe.mock.callCount(), 0, 'whoever asks again by itself comes first')
      await pass(1)
      assert.deepEqual([breaker.isOpen, probe.mock.callCount()], [how === 'fails', 1])
      await pass(750)
      assert.equal(breaker.isOpen, true)
      assert.match(String(breaker.cause), how === 'fails' ? /still dead/ : /silent/)
      await breaker[Symbol.asyncDispose]()
    })
})

test('a failure where the peer is there all the same opens nothing, and is forgotten', async (t) => {
  const { breaker, probe, peer, pass } = breakerFor(t)
  peer.isBack = true
  for (let count = 0; count < 3; count += 1) {
    failTimes(breaker, 2)
    await pass(250)
  }
  assert.deepEqual([breaker.isOpen, probe.mock.callCount()], [false, 3])
  failTimes(breaker, 2)
  breaker.succeeded()
  await pass(10_000)
  assert.equal(probe.mock.callCount(), 3, 'whoever was answered needs no look')
})

test('who asks whether the peer is there asks once at a time, and a no is a failure', async (t) => {
  const { breaker, probe, peer, pass } = breakerFor(t)
  const before = breaker.heardAt
  breaker.look()
  breaker.look()
  await pass(0)
  assert.deepEqual([breaker.heardAt, probe.mock.callCount(), breaker.isOpen], [before, 1, false])
  peer.isBack = true
  await pass(250)
  assert.deepEqual([breaker.heardAt > before, probe.mock.callCount()], [true, 2], 'it looked once more')
  failTimes(breaker, 3)
  breaker.look()
  await pass(0)
  assert.equal(probe.mock.callCount(), 2, 'it is asked in any case while it is open')
  await breaker[Symbol.asyncDispose]()
})

test('there is one probe at a time: an opening ends a look, and waits for its end', async (t) => {
  const { breaker, probe, pass } = breakerFor(t)
  let running = 0
  let most = 0
  probe.mock.mockImplementation(async (signal: AbortSignal) => {
    running += 1
    most = Math.max(most, running)
    await delay(60_000, signal).catch(() => {})
    await settled()
    running -= 1
    throw new Error('over')
  })
  breaker.look()
  await pass(0)
  for (let count = 0; count < 3; count += 1) {
    failTimes(breaker, 1)
    await pass(300)
  }
  for (let count = 0; count < 100; count += 1) await pass(1000)
  assert.deepEqual([breaker.isOpen, most], [true, 1])
  await breaker[Symbol.asyncDispose]()
})

test('an answer while it is open, to what was asked before, brings the next probe at once', async (t) => {
  const { breaker, probe, peer, pass } = breakerFor(t)
  failTimes(breaker, 3)
  await pass(100)
  peer.isBack = true
  breaker.succeeded()
  await pass(0)
  assert.deepEqual([breaker.isOpen, probe.mock.callCount()], [false, 2])
})

test('who begins to wait hastens the next probe', async (t) => {
  const pass = stopTheClock(t)
  const probe = t.mock.fn(() => Promise.reject(new Error('still dead')))
  const breaker = new CircuitBreaker({ threshold: 1, probeEveryMs: [15_000, 15_000], probe, random: () => 1 })
  breaker.succeeded()
  breaker.failed(new Error('gone'))
  await pass(4000)
  const leaving = new AbortController()
  const waiting = breaker.comeBack(performance.now(), 3_600_000, leaving.signal)
  await pass(0)
  assert.equal(probe.mock.callCount(), 1)
  leaving.abort(new Error('left'))
  await assert.rejects(waiting, /left/)
  await breaker[Symbol.asyncDispose]()
})

test('those who lost the peer at the same time do not probe it at the same time', async (t) => {
  const pass = stopTheClock(t)
  const probe = t.mock.fn(() => Promise.reject(new Error('still dead')))
  const breaker = new CircuitBreaker({ threshold: 1, probeEveryMs: [1000, 15_000], probe, random: () => 0 })
  breaker.failed(new Error('gone'))
  await pass(500)
  assert.equal(probe.mock.callCount(), 1, 'a half of the pause is drawn')
  await breaker[Symbol.asyncDispose]()
})

test('the end does not wait for a peer that does not say whether it is there', async (t) => {
  const { breaker, probe } = breakerFor(t)
  probe.mock.mockImplementation((signal: AbortSignal) => {
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  })
  breaker.look()
  await settled()
  await breaker[Symbol.asyncDispose]()
  breaker.look()
  await settled()
  assert.equal(probe.mock.callCount(), 1)
})
