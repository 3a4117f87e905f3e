// Bytes that are held for readers. Neighbours that were thought of: parts of one piece that lie behind each other, and that
// do not; chunks of a few bytes; what is lent from the middle; what is dropped while it is lent to somebody.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { HeldBytes } from '../../src/flow/held-bytes.ts'
import { Pieces } from '../../src/flow/pieces.ts'
import { testBytes } from '../storage/files/storage-folder.ts'

const content = testBytes(40_000)
const checked = (): Pieces => new Pieces({ isChecked: true })

/** Adds the content from `start` to `end`, in one piece of memory, in parts of `length` bytes. */
function add(
  held: HeldBytes,
  pieces: Pieces,
  { start, end, length }: Record<'start' | 'end' | 'length', number>,
) {
  using piece = pieces.acquire()
  piece.bytes.set(content.subarray(start, end))
  for (let at = start; at < end; at += length) {
    using part = piece.share(at - start, Math.min(at + length, end) - start)
    held.add(at, part)
  }
}

test('what was added is read and lent, whatever it came in; after it was let go nothing is held', () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 6000 }), { minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(lengths, fc.integer({ min: 1, max: 3000 }), fc.nat(9999), (runs, length, at) => {
      using pieces = checked()
      const held = new HeldBytes(20_000)
      let end = 0
      for (const run of runs) {
        add(held, pieces, { start: end, end: end + run, length })
        end += run
      }
      const position = at % end
      const buffer = Buffer.alloc(end)
      assert.deepEqual([held.read(buffer, position), held.length], [end - position, end])
      assert.deepEqual(buffer.subarray(0, end - position), content.subarray(position, end))
      using lent = held.lend(position)
      assert.ok(lent && lent.length > 0)
      held.clear()
      assert.equal(Buffer.compare(lent.bytes, content.subarray(position, position + lent.length)), 0)
      assert.deepEqual([held.length, held.lend(position), held.read(buffer, position)], [0, undefined, 0])
    }),
  )
})

test('parts of one piece are one chunk, which is let go of as a whole', () => {
  using pieces = checked()
  const held = new HeldBytes(40_000)
  add(held, pieces, { start: 0, end: 10_000, length: 100 })
  add(held, pieces, { start: 10_000, end: 15_000, length: 5000 })
  assert.equal(held.oldestEnd, 10_000)
  held.drop()
  assert.deepEqual([held.length, held.oldestEnd, held.read(Buffer.alloc(10), 9999)], [5000, 15_000, 0])
  held.drop()
  assert.deepEqual([held.length, held.oldestEnd, pieces.inUse], [0, undefined, 0])
  held.drop()
  assert.equal(held.length, 0)
})

test('a thousand pieces of a few bytes keep no piece each', () => {
  using pieces = checked()
  const held = new HeldBytes(40_000)
  for (let at = 0; at < 10_000; at += 10) add(held, pieces, { start: at, end: at + 10, length: 10 })
  assert.ok(pieces.inUse <= 1024 * 1024, `${pieces.inUse} bytes`)
  const buffer = Buffer.alloc(10_000)
  assert.equal(held.read(buffer, 0), 10_000)
  assert.deepEqual(buffer, content.subarray(0, 10_000))
  held.clear()
})

test('what is lent of what has not come, or has gone, is nothing', () => {
  using pieces = checked()
  const held = new HeldBytes(40_000)
  add(held, pieces, { start: 100, end: 200, length: 100 })
  assert.deepEqual([held.lend(99), held.lend(200)], [undefined, undefined])
  using last = held.lend(199)
  assert.equal(last?.length, 1)
  held.clear()
})
