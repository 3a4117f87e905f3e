import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KeyedLock } from '../../src/flow/keyed-lock.ts'

test('work with one key runs one after the other, in order; another key does not wait', async () => {
  const lock = new KeyedLock<string>()
  const events: string[] = []
  const gate = Promise.withResolvers<void>()
  const first = lock.run('a', async () => {
    events.push('a1 begins')
    await gate.promise
    events.push('a1 ends')
  })
  const second = lock.run('a', async () => void events.push('a2'))
  await lock.run('b', async () => void events.push('b'))
  gate.resolve()
  await Promise.all([first, second])
  assert.deepEqual(events, ['a1 begins', 'b', 'a1 ends', 'a2'])
})

test('a failure is its own: the next one runs, and gets its own result', async () => {
  const lock = new KeyedLock<string>()
  const failing = lock.run('a', async () => {
    throw new Error('broken')
  })
  const next = lock.run('a', async () => 7)
  await assert.rejects(failing, /broken/)
  assert.equal(await next, 7)
  assert.equal(await lock.run('a', async () => 8), 8)
})
