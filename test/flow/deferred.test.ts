import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deferred } from '../../src/flow/deferred.ts'

test('it settles as its resolvers are called', async () => {
  const one = deferred<number>()
  one.resolve(1)
  assert.equal(await one.promise, 1)
})

test('a rejection that nobody waits for does not end the process, and whoever asks later gets it', async (t) => {
  const unhandled = t.mock.fn()
  process.on('unhandledRejection', unhandled)
  t.after(() => process.off('unhandledRejection', unhandled))
  const event = deferred<void>()
  const reason = new Error('failed')
  event.reject(reason)
  await new Promise(setImmediate)
  assert.equal(unhandled.mock.callCount(), 0)
  await assert.rejects(event.promise, (error) => error === reason)
})
