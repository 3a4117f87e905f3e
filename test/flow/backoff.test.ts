import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { backoffMs } from '../../src/flow/backoff.ts'

const bounds = { firstMs: 1000, capMs: 15_000 }

test('it doubles up to its bound, and at least a half of each wait is waited', () => {
  const least = (failures: number) => backoffMs(failures, { ...bounds, random: () => 0 })
  const most = (failures: number) => backoffMs(failures, { ...bounds, random: () => 1 })
  assert.deepEqual([1, 2, 3, 4, 5, 6].map(least), [500, 1000, 2000, 4000, 7500, 7500])
  assert.deepEqual([1, 2, 3, 4, 5, 6].map(most), [1000, 2000, 4000, 8000, 15_000, 15_000])
})

test('without a failure there is no wait', () => {
  for (const failures of [0, -1, Number.NaN]) assert.equal(backoffMs(failures, bounds), 0)
})

test('whatever the number of failures, it is finite and within its bounds', () => {
  const any = fc.oneof(fc.integer({ min: 1, max: 2 ** 31 }), fc.constantFrom(1e300, Number.POSITIVE_INFINITY))
  fc.assert(
    fc.property(any, fc.double({ min: 0, max: 1, noNaN: true }), (failures, drawn) => {
      const ms = backoffMs(failures, { ...bounds, random: () => drawn })
      return ms >= bounds.firstMs / 2 && ms <= bounds.capMs
    }),
  )
})

test('those who failed together do not come back together', () => {
  const waits = Array.from({ length: 100 }, () => Math.round(backoffMs(3, bounds)))
  assert.ok(new Set(waits).size > 50)
})
