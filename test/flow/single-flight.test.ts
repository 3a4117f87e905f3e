import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pulse } from '../../src/flow/pulse.ts'
import { SingleFlight } from '../../src/flow/single-flight.ts'
import { keptByThoseWhoLeave } from '../support/heap.ts'

test('all who ask while it runs get the result of one operation', async (t) => {
  const flights = new SingleFlight<string, object>()
  const result = Promise.withResolvers<object>()
  const operation = t.mock.fn(() => result.promise)
  const callers = Array.from({ length: 100 }, () => flights.run('a', operation))
  assert.equal(flights.has('a'), true)
  const value = {}
  result.resolve(value)
  for (const got of await Promise.all(callers)) assert.equal(got, value)
  assert.equal(operation.mock.callCount(), 1)
})

test('another key is another operation', async (t) => {
  const flights = new SingleFlight<string, string>()
  const operation = t.mock.fn(async () => 'done')
  await Promise.all([flights.run('a', operation), flights.run('b', operation)])
  assert.equal(operation.mock.callCount(), 2)
})

test('after it ended, well or badly, the next one starts anew', async () => {
  const flights = new SingleFlight<string, number>()
  assert.equal(await flights.run('a', async () => 1), 1)
  assert.equal(flights.has('a'), false)
  const failing = flights.run('a', () => Promise.reject(new Error('no')))
  await assert.rejects(failing, { message: 'no' })
  assert.equal(flights.has('a'), false)
  assert.equal(await flights.run('a', async () => 3), 3)
})

test('a failure reaches all callers, each once, and nobody else', async (t) => {
  const unhandled = t.mock.fn()
  process.on('unhandledRejection', unhandled)
  t.after(() => process.off('unhandledRejection', unhandled))
  const flights = new SingleFlight<string, void>()
  const failure = new Error('no')
  const work = Promise.withResolvers<void>()
  const callers = [1, 2, 3].map(() => flights.run('a', () => work.promise))
  work.reject(failure)
  for (const outcome of await Promise.allSettled(callers)) {
    assert.deepEqual(outcome, { status: 'rejected', reason: failure })
  }
  await new Promise(setImmediate)
  assert.equal(unhandled.mock.callCount(), 0)
})

test('one caller leaves: the operation goes on for the others', async () => {
  const flights = new SingleFlight<string, string>()
  const { operation, work, signals } = anOperation()
  const controller = new AbortController()
  const leaving = flights.run('a', operation, controller.signal)
  const staying = flights.run('a', operation, new AbortController().signal)
  controller.abort()
  await assert.rejects(leaving, { name: 'AbortError' })
  assert.equal(flights.has('a'), true)
  work.resolve('here')
  assert.equal(await staying, 'here')
  assert.deepEqual(
    signals.map(({ aborted }) => aborted),
    [false],
  )
})

test('the last one leaves: the operation is cancelled, and who asks then is asked for anew', async () => {
  const flights = new SingleFlight<string, string>()
  const { operation, signals } = anOperation()
  const [first, second] = [new AbortController(), new AbortController()]
  const both = [first, second].map(({ signal }) => flights.run('a', operation, signal))
  first.abort()
  await assert.rejects(both[0] as Promise<string>)
  assert.equal(signals[0]?.aborted, false)
  second.abort()
  await assert.rejects(both[1] as Promise<string>)
  assert.equal(signals[0]?.aborted, true)
  assert.equal(flights.has('a'), false)
  const later = anOperation()
  const asked = flights.run('a', later.operation)
  later.work.resolve('anew')
  assert.equal(await asked, 'anew')
})

test('who asks for what is being cancelled does not join it, and its end takes nothing away', async () => {
  const flights = new SingleFlight<string, string>()
  const old = anOperation()
  const leaving = new AbortController()
  const left = flights.run('a', old.operation, leaving.signal)
  leaving.abort()
  await assert.rejects(left)
  const next = anOperation()
  const asked = flights.run('a', next.operation)
  old.work.reject(new Error('cancelled'))
  await new Promise(setImmediate)
  assert.equal(flights.has('a'), true)
  next.work.resolve('anew')
  assert.equal(await asked, 'anew')
})

test('who has left before asks nothing', async (t) => {
  const flights = new SingleFlight<string, string>()
  const operation = t.mock.fn(async () => 'done')
  await assert.rejects(flights.run('a', operation, AbortSignal.abort(new Error('left'))), /left/)
  assert.equal(operation.mock.callCount(), 0)
})

test('silence lets all leave and the operation goes on, also without the one who leaves by himself', async () => {
  const flights = new SingleFlight<string, string>()
  const { operation, work, signals, pulses } = anOperation()
  const waiting = flights.run('a', operation, new AbortController().signal)
  pulses[0]?.fallSilent(new Error('silent'))
  await assert.rejects(waiting, /silent/)
  await assert.rejects(flights.run('a', operation), /silent/, 'who comes while it is silent')
  pulses[0]?.beat()
  const leaving = new AbortController()
  const left = flights.run('a', operation, leaving.signal)
  leaving.abort()
  await assert.rejects(left, { name: 'AbortError' })
  assert.equal(signals[0]?.aborted, false, 'it was promised to go on')
  const next = flights.run('a', operation)
  work.resolve('after all')
  assert.equal(await next, 'after all')
  assert.equal(signals.length, 1)
})

test('what nobody waits for any more goes on for so long, and so many of them', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const flights = new SingleFlight<number, string>({ unattendedMs: 1000, maximumUnattended: 2 })
  const { operation, signals, pulses } = anOperation()
  const aborted = () => signals.map((signal) => signal.aborted)
  const abandon = async (key: number): Promise<void> => {
    const waiting = flights.run(key, operation)
    pulses.at(-1)?.fallSilent(new Error('silent'))
    await assert.rejects(waiting, /silent/)
  }
  await abandon(0)
  t.mock.timers.tick(500)
  await abandon(1)
  assert.deepEqual(aborted(), [false, false])
  await abandon(2)
  assert.deepEqual(aborted(), [true, false, false], 'the oldest gives way')
  t.mock.timers.tick(500)
  assert.deepEqual(aborted(), [true, false, false])
  t.mock.timers.tick(500)
  assert.deepEqual(aborted(), [true, true, true])
  assert.equal(flights.has(2), false)
})

test('thousands who ask for the same and leave keep nothing of the memory', { timeout: 60_000 }, async () => {
  const flights = new SingleFlight<string, string>()
  const { operation, work } = anOperation()
  const staying = flights.run('a', operation)
  const grown = await keptByThoseWhoLeave((signal) => flights.run('a', operation, signal))
  assert.ok(grown < 1024 * 1024, `${grown} bytes`)
  work.resolve('done')
  await staying
})

/** An operation that runs until `work` settles, and the signals and pulses that it was given. */
function anOperation() {
  const work = Promise.withResolvers<string>()
  work.promise.catch(() => {})
  const signals: AbortSignal[] = []
  const pulses: (Pulse | undefined)[] = []
  const operation = (signal: AbortSignal): Promise<string> => {
    signals.push(signal)
    pulses.push(Pulse.current)
    return work.promise
  }
  return { operation, work, signals, pulses }
}
