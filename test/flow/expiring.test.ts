import assert from 'node:assert/strict'
import { test } from 'node:test'
import Keyv from 'keyv'
import { type Expiring, expiringInMemory, KeyvExpiring } from '../../src/flow/expiring.ts'

const small = { entries: 10, bytes: 10_000 }
const hour = 60 * 60_000

function fail(error: unknown): never {
  throw error
}

/** The same values in memory, and in a store that knows text alone, as one behind a network does. */
const stores: Readonly<Record<string, () => Expiring<readonly string[]>>> = {
  'in memory': () => expiringInMemory(small, fail),
  'in any store of Keyv': () => new KeyvExpiring(new Keyv({ store: new Map() }), fail),
}

for (const [where, open] of Object.entries(stores)) {
  test(`${where}: a value is there until its time is over`, async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
    // The time that this takes is none of its own.
    t.mock.method(performance, 'now', () => 5)
    const kept = open()
    assert.equal(await kept.get('a'), undefined)
    await kept.set('a', ['one'], 1000)
    t.mock.timers.setTime(1_000_999)
    assert.deepEqual(await kept.get('a'), ['one'])
    t.mock.timers.setTime(1_001_001)
    assert.equal(await kept.get('a'), undefined)
  })

  test(`${where}: what is kept for no time is not kept, nor what was there before it`, async () => {
    const kept = open()
    await kept.set('a', ['old'], 1000)
    await kept.set('a', ['new'], 0)
    assert.equal(await kept.get('a'), undefined)
  })

  test(`${where}: what is kept without end stays`, async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
    const kept = open()
    await kept.set('a', ['one'], Number.POSITIVE_INFINITY)
    await kept.set('b', ['two'], 10 * 365 * 24 * 60 * 60_000)
    t.mock.timers.setTime(1_000_000 + 365 * 24 * 60 * 60_000)
    assert.deepEqual([await kept.get('a'), await kept.get('b')], [['one'], ['two']])
  })

  test(`${where}: what is deleted is gone`, async () => {
    const kept = open()
    await kept.set('a', ['one'], 1000)
    await kept.delete('a')
    assert.equal(await kept.get('a'), undefined)
  })
}

test('a clock that is set back makes nothing in memory last longer', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 })
  const kept = expiringInMemory<string>(small, fail)
  await kept.set('a', 'one', 20)
  t.mock.timers.setTime(10)
  const begin = performance.now()
  while (performance.now() - begin <= 25) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(await kept.get('a'), undefined)
})

test('the least recently used go first where there are too many, or too large ones', async () => {
  const few = expiringInMemory<string>({ entries: 2, bytes: 10_000 }, fail)
  for (const key of ['a', 'b']) await few.set(key, key, hour)
  await few.get('a')
  await few.set('c', 'c', hour)
  assert.deepEqual(await Promise.all(['a', 'b', 'c'].map((key) => few.get(key))), ['a', undefined, 'c'])

  const sizeOf = (value: string) => value.length
  const light = expiringInMemory<string>({ entries: 1000, bytes: 10_000, sizeOf }, fail)
  for (const key of ['a', 'b', 'c']) await light.set(key, 'x'.repeat(4000), hour)
  assert.equal(await light.get('a'), undefined)
  assert.equal((await light.get('c'))?.length, 4000)
  await light.set('c', 'x'.repeat(20_000), hour)
  assert.equal(await light.get('c'), undefined, 'what is too large for the whole place is not kept')
})

test('a store that fails has forgotten everything, and says why', async () => {
  const broken = (): never => {
    throw new Error('the store is broken')
  }
  const told: unknown[] = []
  const keyv = new Keyv<string>({ store: { get: broken, set: broken, delete: broken, clear: broken } })
  const kept = new KeyvExpiring(keyv, (error) => told.push(error))
  await kept.set('a', 'one', 1000)
  assert.equal(await kept.get('a'), undefined)
  await kept.delete('a')
  assert.deepEqual(
    told.map((error) => (error as Error).message),
    Array.from({ length: 3 }, () => 'the store is broken'),
  )
})
