import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Place, Places } from '../../src/flow/places.ts'

/** Whether a promise has settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let isIt = false
  const settle = (): void => {
    isIt = true
  }
  promise.then(settle, settle)
  await new Promise((resolve) => setImmediate(resolve))
  return isIt
}

test('no more have a place than there are; the others are served as they came', async () => {
  const slots = new Places(2)
  const [first, second] = [await slots.take(), await slots.take()]
  const order: string[] = []
  const take = async (who: string): Promise<void> => {
    await slots.take()
    order.push(who)
  }
  const third = take('third')
  const fourth = take('fourth')
  assert.equal(await isSettled(third), false)
  first[Symbol.dispose]()
  await third
  assert.equal(await isSettled(fourth), false)
  second[Symbol.dispose]()
  await fourth
  assert.deepEqual(order, ['third', 'fourth'])
})

test('a place that is given back twice is one place', async () => {
  const slots = new Places(1)
  const slot = await slots.take()
  slot[Symbol.dispose]()
  slot[Symbol.dispose]()
  await slots.take()
  assert.equal(await isSettled(slots.take()), false)
})

test('whoever comes as a place becomes free does not overtake those who wait', async () => {
  const slots = new Places(1)
  const first = await slots.take()
  const waiting = slots.take()
  first[Symbol.dispose]()
  const late = slots.take()
  await waiting
  assert.equal(await isSettled(late), false)
})

test('a place is there at once, or not; who has left does not wait for it', async () => {
  const slots = new Places(1)
  assert.equal(slots.isIdle, true)
  const slot = slots.tryTake()
  assert.ok(slot)
  assert.deepEqual([slots.isIdle, slots.tryTake()], [false, undefined])
  const leaving = new AbortController()
  const waiting = slots.take(leaving.signal)
  await isSettled(waiting)
  leaving.abort(new Error('left'))
  await assert.rejects(waiting, /left/)
  slot[Symbol.dispose]()
  assert.equal(slots.isIdle, true)
})

test('who leaves at the moment at which the place is given passes it on', async () => {
  const slots = new Places(1)
  const slot = await slots.take()
  const leaving = new AbortController()
  const waiting = slots.take(leaving.signal)
  const next = slots.take()
  await isSettled(next)
  leaving.abort(new Error('left'))
  slot[Symbol.dispose]()
  await assert.rejects(waiting, /left/)
  using _ = await next
})

test('both orders of leaving and giving keep every place', async () => {
  for (const isGivenFirst of [true, false]) {
    const slots = new Places(1)
    const slot = await slots.take()
    const leaving = new AbortController()
    const waiting = slots.take(leaving.signal)
    await isSettled(waiting)
    const steps = [() => slot[Symbol.dispose](), () => leaving.abort(new Error('left'))]
    for (const step of isGivenFirst ? steps : steps.toReversed()) step()
    const got: Place | undefined = await waiting.catch(() => undefined)
    got?.[Symbol.dispose]()
    await slots.take()
  }
})

test('nobody who has left already takes a place', async () => {
  const slots = new Places(1)
  await assert.rejects(slots.take(AbortSignal.abort(new Error('left'))), /left/)
  await slots.take()
})
