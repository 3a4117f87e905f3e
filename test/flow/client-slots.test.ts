import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { ClientSlots } from '../../src/flow/client-slots.ts'

test('each client has its own places, and waits for none but these, in order', async () => {
  const slots = new ClientSlots({ perClient: 2, patienceMs: 60_000 })
  const taken = [slots.tryTake('a'), slots.tryTake('a')]
  assert.equal(slots.tryTake('a'), undefined)
  assert.ok(await slots.take('b'))
  const order: string[] = []
  const waiting = ['first', 'second'].map(async (who) => {
    const slot = await slots.take('a')
    order.push(who)
    return slot
  })
  for (const slot of taken) slot?.[Symbol.dispose]()
  await Promise.all(waiting)
  assert.deepEqual(order, ['first', 'second'])
  assert.deepEqual(slots.counts, { waited: 2, refused: 0 })
})

test('who waits too long gets none, who leaves rejects, and neither leaves anything behind', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const slots = new ClientSlots({ perClient: 1, patienceMs: 5000 })
  const slot = await slots.take('a')
  const leaving = new AbortController()
  const [late, left] = [slots.take('a'), slots.take('a', { signal: leaving.signal })]
  leaving.abort(new Error('left'))
  await assert.rejects(left, /left/)
  t.mock.timers.tick(5000)
  assert.equal(await late, undefined)
  assert.deepEqual(slots.counts, { waited: 2, refused: 1 })
  assert.equal(getEventListeners(leaving.signal, 'abort').length, 0)
  slot?.[Symbol.dispose]()
  slot?.[Symbol.dispose]()
  assert.ok(slots.tryTake('a'))
  assert.equal(slots.tryTake('a'), undefined)
})

test('a client that has gone and come back waits for its own places only once', async () => {
  const slots = new ClientSlots({ perClient: 1, patienceMs: 60_000 })
  for (let times = 0; times < 3; times += 1) {
    const slot = await slots.take('a')
    const next = slots.take('a')
    slot?.[Symbol.dispose]()
    const second = await next
    assert.equal(slots.tryTake('a'), undefined)
    second?.[Symbol.dispose]()
  }
})

test('who has waited elsewhere before has only the rest of the patience left', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  t.mock.method(performance, 'now', () => 7000)
  const slots = new ClientSlots({ perClient: 1, patienceMs: 5000 })
  await slots.take('a')
  const [rest, none] = [3000, 1000].map((since) => slots.take('a', { since }))
  t.mock.timers.tick(1)
  assert.equal(await none, undefined, 'all of it was used up')
  t.mock.timers.tick(998)
  assert.equal(slots.counts.refused, 1)
  t.mock.timers.tick(1)
  assert.equal(await rest, undefined)
  assert.deepEqual(slots.counts, { waited: 2, refused: 2 })
})
