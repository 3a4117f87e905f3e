import assert from 'node:assert/strict'
import { test } from 'node:test'
import { abortable } from '../../src/flow/abortable.ts'
import { SingleFlight } from '../../src/flow/single-flight.ts'

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
  const work = Promise.withResolvers<string>()
  const controller = new AbortController()
  const leaving = abortable(
    flights.run('a', () => work.promise),
    controller.signal,
  )
  const staying = flights.run('a', () => Promise.reject(new Error('started twice')))
  controller.abort()
  await assert.rejects(leaving, { name: 'AbortError' })
  assert.equal(flights.has('a'), true)
  work.resolve('here')
  assert.equal(await staying, 'here')
})
