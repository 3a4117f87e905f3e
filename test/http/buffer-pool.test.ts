import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BufferPool } from '../../src/http/buffer-pool.ts'

const mebibyte = 1024 * 1024

test('what is lent and what is kept are no more than the capacity together', () => {
  const pool = new BufferPool(8 * mebibyte)
  const kinds = [mebibyte, 200_000, 10_000]
  for (let round = 0; round < 3; round += 1) {
    // Different sizes each round: what the last one has left is of no use to it.
    const lent = Array.from({ length: 40 }, (_, n) => pool.acquire(kinds[(n + round) % 3] ?? 1))
    for (const buffer of lent) {
      pool.release(buffer, true)
      assert.ok(pool.inUse + pool.kept <= 8 * mebibyte || pool.kept === 0, `${pool.inUse} + ${pool.kept}`)
    }
    assert.equal(pool.inUse, 0)
    assert.ok(pool.kept <= 8 * mebibyte)
  }
})

test('a buffer that somebody may still read is not lent again', () => {
  const pool = new BufferPool(mebibyte)
  pool.release(pool.acquire(1000), false)
  assert.equal(pool.kept, 0)
  const clean = pool.acquire(1000)
  pool.release(clean, true)
  assert.equal(pool.acquire(1000), clean)
})
