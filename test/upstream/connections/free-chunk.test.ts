import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freeChunk } from '../../../src/upstream/connections/free-chunk.ts'

test('a chunk that is all of its memory is freed', () => {
  const chunk = Buffer.allocUnsafeSlow(65_536)
  freeChunk(chunk)
  assert.equal(chunk.length, 0)
})

const others: Readonly<Record<string, Buffer>> = {
  'a part of a memory': Buffer.allocUnsafeSlow(65_536).subarray(0, 32_768),
  'one of the memory that Node shares out': Buffer.allocUnsafe(4000),
  'a small one': Buffer.allocUnsafeSlow(4095),
  'one in memory that threads share': Buffer.from(new SharedArrayBuffer(65_536)),
  'an empty one': Buffer.alloc(0),
}

for (const [what, chunk] of Object.entries(others)) {
  test(`${what} is left alone`, () => {
    const { length } = chunk
    freeChunk(chunk)
    assert.equal(chunk.length, length)
  })
}
