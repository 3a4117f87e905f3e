import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { Changes } from '../../src/flow/changes.ts'

test('whoever waits looks again at each change, until there is what it looks for', async () => {
  const changes = new Changes()
  let value: number | undefined
  let looks = 0
  const waiting = changes.until(() => {
    looks += 1
    return value
  })
  changes.announce()
  await Promise.resolve()
  value = 5
  changes.announce()
  assert.equal(await waiting, 5)
  assert.equal(looks, 3)
})

test('what the look throws ends the wait, and so does the signal, with its reason', async () => {
  const changes = new Changes()
  const controller = new AbortController()
  const left = changes.until(() => undefined, controller.signal)
  const thrown = changes.until(() => {
    throw new Error('no use')
  })
  controller.abort(new Error('left'))
  await assert.rejects(left, /left/)
  await assert.rejects(thrown, /no use/)
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0)
})

test('the next change is waited for so long and no longer', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const changes = new Changes()
  const waiting = changes.next(100)
  t.mock.timers.tick(100)
  await waiting
  const announced = changes.next(100)
  changes.announce()
  await announced
})
