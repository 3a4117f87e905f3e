import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BufferPool } from '../../src/http/buffer-pool.ts'

const mebibyte = 1024 * 1024

test('what is lent and what is kept are no more than the capacity together, or an eighth more than what is lent', () => {
  const pool = new BufferPool(8 * mebibyte)
  const check = () => {
    const bound = Math.max(8 * mebibyte, (pool.inUse * 9) / 8)
    assert.ok(pool.inUse + pool.kept <= bound, `${pool.inUse} + ${pool.kept}`)
  }
  const kinds = [mebibyte, 200_000, 10_000]
  for (let round = 0; round < 3; round += 1) {
    // Different sizes each round: what the last one has left is of no use to it.
    const lent = Array.from({ length: 40 }, (_, n) => {
      const buffer = pool.acquire(kinds[(n + round) % 3] ?? 1)
      check()
      return buffer
    })
    for (const buffer of lent) {
      buffer.release()
      check()
    }
    assert.equal(pool.inUse, 0)
    assert.ok(pool.kept > 0)
  }
})

test('what was kept in one size makes room for what is lent in another', () => {
  const pool = new BufferPool(8 * mebibyte)
  const large = Array.from({ length: 26 }, () => pool.acquire(mebibyte))
  for (const buffer of large) buffer.release()
  assert.ok(pool.kept > 4 * mebibyte, `${pool.kept}`)
  const small = Array.from({ length: 128 }, () => pool.acquire(50_000))
  assert.equal(pool.inUse, 8 * mebibyte)
  assert.ok(pool.kept <= mebibyte, `${pool.kept}: an eighth`)
  for (const buffer of small) buffer.release()
})

test('buffers get smaller as more are lent, down to the smallest, and larger again', () => {
  const pool = new BufferPool(4 * mebibyte)
  const lent = Array.from({ length: 1200 }, () => pool.acquire(10 * mebibyte))
  const sizes = [...new Set(lent.map(({ length }) => length / 1024))]
  assert.deepEqual(sizes, [1024, 256, 64, 16])
  assert.ok(pool.isScarce)
  const inSmallest = lent.filter(({ length }) => length === 16 * 1024).length
  assert.ok(pool.inUse - inSmallest * 16 * 1024 <= 8 * mebibyte, 'twice the capacity before that')
  for (const buffer of lent) buffer.release()
  assert.equal(pool.acquire(10 * mebibyte).length, mebibyte)
  assert.equal(pool.isScarce, false)
})

test('a buffer that somebody may still read is not lent again', () => {
  using pool = new BufferPool(mebibyte, { isChecked: true })
  pool.acquire(1000).abandon()
  assert.deepEqual([pool.inUse, pool.kept], [0, 0])
  const clean = pool.acquire(1000)
  const { buffer } = clean.bytes
  clean.release()
  using again = pool.acquire(1000)
  assert.equal(again.bytes.buffer, buffer)
})

test('where it is checked, what is given back is overwritten, and what is not is told of at the end', () => {
  const pool = new BufferPool(mebibyte, { isChecked: true })
  const [kept, returned] = [pool.acquire(1000), pool.acquire(1000)]
  const { bytes } = returned
  bytes.fill(1)
  returned.release()
  assert.deepEqual([...new Set(bytes)], [0xdd])
  assert.throws(() => pool[Symbol.dispose](), /^AggregateError: 1 holds of bytes were never released/)
  kept.release()
  pool[Symbol.dispose]()
})
