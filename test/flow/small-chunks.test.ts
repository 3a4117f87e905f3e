import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SmallChunks } from '../../src/flow/small-chunks.ts'

/** Chunks as their owner keeps them. */
function kept(sizes: readonly number[]): { chunks: Uint8Array[]; all: Buffer } {
  const small = new SmallChunks(1024 * 1024)
  const chunks: Uint8Array[] = []
  const given = sizes.map((size, n) => Buffer.alloc(size, n + 1))
  for (const bytes of given) {
    const joined = small.joined(chunks.at(-1), bytes)
    if (joined) chunks.pop()
    chunks.push(joined ?? bytes)
  }
  return { chunks, all: Buffer.concat(given) }
}

test('whatever the sizes, the bytes are the same', () => {
  const size = fc.oneof(fc.nat(10), fc.integer({ min: 4000, max: 5000 }), fc.integer({ min: 0, max: 70_000 }))
  fc.assert(
    fc.property(fc.array(size, { maxLength: 60 }), (sizes) => {
      const { chunks, all } = kept(sizes)
      assert.ok(Buffer.concat(chunks).equals(all))
    }),
  )
})

test('a hundred thousand small ones are few; large ones are kept as they are', () => {
  assert.equal(kept(Array(100_000).fill(20)).chunks.length, Math.ceil(100_000 / Math.floor(65_536 / 20)))
  assert.equal(kept(Array(10).fill(4096)).chunks.length, 10)
})
