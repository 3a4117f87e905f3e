import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { CircuitBreaker } from '../../src/flow/circuit-breaker.ts'
import { keptByThoseWhoLeave } from '../support/heap.ts'

const settled = () => new Promise(setImmediate)

/** A breaker that opens at three failures and probes a peer that is dead until `peer.isBack`. */
function breakerFor(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const peer = { isBack: false }
  const changes: string[] = []
  const stillDead = new Error('still dead')
  const probe = t.mock.fn(async (_signal: AbortSignal) => {
    if (!peer.isBack) throw stillDead
  })
  const breaker = new CircuitBreaker({
    threshold: 3,
    probeEveryMs: [100, 400],
    probe,
    onChange: (state) => changes.push(state),
  })
  const pass = async (milliseconds: number) => {
    t.mock.timers.tick(milliseconds)
    await settled()
  }
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
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const probe = t.mock.fn(async () => {
    throw new Error('still dead')
  })
  const breaker = new CircuitBreaker({ threshold: 1, probeEveryMs: [1000, 60_000], probe })
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
    t.mock.timers.tick(milliseconds)
    await settled()
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

test('who asks whether the peer is there hears a yes alone, and is asked for once at a time', async (t) => {
  const { breaker, probe, peer, pass } = breakerFor(t)
  failTimes(breaker, 2)
  const before = breaker.heardAt
  breaker.look()
  breaker.look()
  await pass(0)
  assert.deepEqual([breaker.heardAt, probe.mock.callCount(), breaker.isOpen], [before, 1, false])
  peer.isBack = true
  breaker.look()
  await pass(0)
  assert.ok(breaker.heardAt > before)
  failTimes(breaker, 2)
  assert.equal(breaker.isOpen, false, 'the count began anew')
  failTimes(breaker, 1)
  breaker.look()
  assert.equal(probe.mock.callCount(), 2, 'it is asked in any case while it is open')
  await breaker[Symbol.asyncDispose]()
})

test('the end does not wait for a peer that does not say whether it is there', async (t) => {
  const { breaker, probe } = breakerFor(t)
  probe.mock.mockImplementation((signal: AbortSignal) => {
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  })
  breaker.look()
  await breaker[Symbol.asyncDispose]()
  breaker.look()
  assert.equal(probe.mock.callCount(), 1)
})
