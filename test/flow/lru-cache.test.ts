import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LRUCache } from 'lru-cache'
import { lruCache } from '../../src/flow/lru-cache.ts'

test('what was used longest ago goes first, and no more than the maximum stays', () => {
  const cache = lruCache<string, number>(2)
  cache.set('one', 1).set('two', 2)
  cache.get('one')
  cache.set('three', 3)
  assert.deepEqual([...cache.keys()].sort(), ['one', 'three'])
})

test('an entry lasts as long as it may, from the first time on where that is asked for', (t) => {
  t.mock.timers.enable({ apis: ['Date', 'setTimeout'] })
  let now = 1
  t.mock.method(performance, 'now', () => now)
  const [renewed, fixed] = [
    lruCache<string, number>(10, { ttl: 10 }),
    lruCache<string, number>(10, { ttl: 10, noUpdateTTL: true }),
  ]
  for (const cache of [renewed, fixed]) cache.set('one', 1)
  now = 9
  t.mock.timers.tick(8)
  for (const cache of [renewed, fixed]) cache.set('one', 1)
  now = 15
  t.mock.timers.tick(6)
  assert.deepEqual([renewed.has('one'), fixed.has('one')], [true, false])
})

test('it takes no room for what is not in it yet', () => {
  const { keyList } = LRUCache.unsafeExposeInternals(lruCache(10_000))
  assert.equal(keyList.length, 0)
})
