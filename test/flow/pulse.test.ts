import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Pulse, stepOf } from '../../src/flow/pulse.ts'

// Neighbours: what a question makes of it (while-reachable.test.ts), with a line that hangs (silent-upstream.slow.test.ts).

/** A pulse on a clock that goes on by ticks alone. */
function pulseAt(t: TestContext, now = 1000): Pulse {
  t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now })
  t.mock.method(performance, 'now', () => Date.now())
  return new Pulse()
}

test('a connection that is made at once is worth next to nothing: kernels make them for who hangs', async (t) => {
  const pulse = pulseAt(t)
  t.mock.timers.tick(3000)
  await stepOf(pulse, Promise.resolve())
  assert.equal(pulse.silentAt(5000), 6000)
  pulse.beat()
  assert.equal(pulse.silentAt(5000), 9000)
})

test('over a long way a step is worth four times what it took, and a patience at most', async (t) => {
  const pulse = pulseAt(t)
  const follower = new Pulse()
  const stopBeating = follower.run(async () => pulse.leadCurrent())
  t.mock.timers.tick(3000)
  const made = Promise.withResolvers<string>()
  const step = stepOf(pulse, made.promise)
  t.mock.timers.tick(1000)
  made.resolve('a connection')
  assert.equal(await step, 'a connection')
  assert.deepEqual([pulse.silentAt(5000), pulse.silentAt(3500)], [9000, 8500])
  t.mock.timers.tick(100)
  pulse.stepped(100)
  assert.equal(pulse.silentAt(5000), 9100, 'the longest counts')
  assert.equal(follower.silentAt(5000), 9100)
  ;(await stopBeating)()
  pulse.beat()
  pulse.stepped(0)
  assert.deepEqual([pulse.silentAt(5000), follower.silentAt(5000)], [10_100, 9100])
})

test('what failed was no step', async (t) => {
  const pulse = pulseAt(t)
  t.mock.timers.tick(100)
  await assert.rejects(stepOf(pulse, Promise.reject(new Error('refused'))), { message: 'refused' })
  assert.equal(pulse.silentAt(10), 1010)
})
