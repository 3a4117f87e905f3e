import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LentBytes } from '../../src/flow/lent-bytes.ts'
import { Pieces } from '../../src/flow/pieces.ts'

const large = 1024 * 1024

test('a piece is used again when the last hold of a part of it has ended, not before', () => {
  using pieces = new Pieces({ isChecked: true })
  const piece = pieces.acquire()
  const { buffer } = piece.bytes
  const [one, other] = [piece.share(0, 10), piece.share(10, 30)]
  const later = other.share(5, 8)
  assert.deepEqual([one.length, other.length, later.bytes.byteOffset], [10, 20, 15])
  piece.release()
  one.release()
  other.release()
  assert.equal(pieces.inUse, large)
  assert.equal(pieces.kept, 0)
  later.release()
  assert.deepEqual([pieces.inUse, pieces.kept], [0, large])
  using again = pieces.acquire()
  assert.equal(again.bytes.buffer, buffer)
})

test('a hold that is released once more takes nothing from the others', () => {
  using pieces = new Pieces({ isChecked: true })
  const piece = pieces.acquire()
  using part = piece.share(0, 1)
  piece.release()
  piece.release()
  piece.abandon()
  assert.equal(pieces.inUse, large)
  part.bytes.fill(7)
  assert.equal(part.bytes[0], 7)
})

test('bytes are not read, nor shared, after their release; memory of nobody is no exception', () => {
  using pieces = new Pieces()
  for (const lent of [pieces.acquire(), LentBytes.of(Buffer.alloc(3))]) {
    lent.release()
    assert.throws(() => lent.bytes, /read after their release/)
    assert.throws(() => lent.share(), /read after their release/)
  }
})

test('what is abandoned is never used again, and counts no more', () => {
  using pieces = new Pieces({ isChecked: true })
  const piece = pieces.acquire()
  const { bytes } = piece
  bytes.fill(1)
  const reader = piece.share(0, 5)
  piece.abandon()
  assert.equal(pieces.inUse, 0)
  reader.release()
  assert.deepEqual([pieces.inUse, pieces.kept, bytes[0]], [0, 0, 1])
})

test('parts that lie behind each other in one piece are joined without a copy', () => {
  using pieces = new Pieces({ isChecked: true })
  using piece = pieces.acquire()
  using other = pieces.acquire()
  using one = piece.share(3, 5)
  using next = piece.share(5, 9)
  using both = one.joined(next)
  assert.deepEqual([both?.length, both?.bytes.byteOffset], [6, 3])
  const apart = [
    next.joined(one),
    one.joined(one),
    one.joined(other),
    LentBytes.of(Buffer.alloc(2)).joined(one),
  ]
  assert.deepEqual(apart, [undefined, undefined, undefined, undefined])
})

test('pieces get small where much is held, and are used again, of each as many as the capacity has and one', () => {
  using pieces = new Pieces({ capacity: 2 * large })
  const held = Array.from({ length: 5 }, () => pieces.acquire())
  assert.deepEqual(
    held.map(({ length }) => length),
    [large, large, large, 64 * 1024, 64 * 1024],
  )
  assert.equal(pieces.isScarce, true)
  const small = held.slice(3).map(({ bytes }) => bytes.buffer)
  for (const one of held) one.release()
  assert.deepEqual([pieces.inUse, pieces.kept, pieces.isScarce], [0, 3 * large + 2 * 64 * 1024, false])
  const again = Array.from({ length: 5 }, () => pieces.acquire())
  assert.deepEqual(new Set(again.slice(3).map(({ bytes }) => bytes.buffer)), new Set(small))
  const more = Array.from({ length: 40 }, () => pieces.acquire())
  for (const one of [...again, ...more]) one.release()
  assert.equal(pieces.kept, 3 * large + 33 * 64 * 1024)
})

test('what is kept is let go after a while without a transfer, and not during one', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  using pieces = new Pieces({ idleMs: 1000 })
  pieces.acquire().release()
  t.mock.timers.tick(999)
  const piece = pieces.acquire()
  t.mock.timers.tick(5000)
  piece.release()
  assert.equal(pieces.kept, large)
  t.mock.timers.tick(1000)
  assert.equal(pieces.kept, 0)
})

test('checked pieces are overwritten when they are released, and tell what never was', () => {
  const pieces = new Pieces({ isChecked: true })
  const piece = pieces.acquire()
  const { bytes } = piece
  bytes.fill(1)
  const forgotten = piece.share(0, 10)
  piece.release()
  assert.equal(bytes[0], 1)
  assert.throws(
    () => pieces[Symbol.dispose](),
    (error: AggregateError) =>
      /1 holds/.test(error.message) && /pieces\.test\.ts/.test(error.errors[0].message),
  )
  forgotten.release()
  assert.equal(bytes[0], 0xdd)
  pieces[Symbol.dispose]()
})
