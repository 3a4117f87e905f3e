import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RecentBytes } from '../../src/content/recent-bytes.ts'
import { testBytes } from '../storage/files/storage-folder.ts'
import { lent } from '../support/lent.ts'

const content = testBytes(1000)
/** A slice of the content, at a position and of a length. */
const slice = fc.record({ start: fc.nat(900), length: fc.integer({ min: 1, max: 100 }) })

test('what it returns is always the content at that position', () => {
  fc.assert(
    fc.property(
      fc.array(slice, { maxLength: 30 }),
      fc.nat(999),
      fc.integer({ min: 1, max: 300 }),
      (added, position, length) => {
        const recent = new RecentBytes(250)
        for (const { start, length } of added)
          recent.add(start, lent(content.subarray(start, start + length)))
        const buffer = Buffer.alloc(length)
        const copied = recent.read(buffer, position)
        assert.ok(copied <= length)
        assert.deepEqual(buffer.subarray(0, copied), content.subarray(position, position + copied))
        assert.ok(
          buffer.subarray(copied).every((byte) => byte === 0),
          'nothing is written behind what was copied',
        )
      },
    ),
  )
})

test('the last bytes of a growing file are all there, across chunks, up to the capacity', () => {
  const recent = new RecentBytes(300)
  for (let at = 0; at < 1000; at += 60) recent.add(at, lent(content.subarray(at, Math.min(at + 60, 1000))))
  const buffer = Buffer.alloc(1000)
  assert.equal(recent.read(buffer, 780), 220)
  assert.deepEqual(buffer.subarray(0, 220), content.subarray(780))
  assert.equal(recent.read(buffer, 960), 40)
  assert.equal(recent.read(buffer.subarray(0, 10), 955), 10)
  assert.equal(recent.read(buffer, 1000), 0)
  assert.equal(recent.read(buffer, 600), 0, 'what is older than the capacity was let go')
})

test('it never holds more than its capacity', () => {
  fc.assert(
    fc.property(fc.array(slice, { maxLength: 30 }), (added) => {
      const recent = new RecentBytes(250)
      for (const { start, length } of added) recent.add(start, lent(content.subarray(start, start + length)))
      let held = 0
      for (let at = 0; at < 1000; at += 1) held += recent.read(Buffer.alloc(1), at)
      assert.ok(held <= 250, `${held} bytes`)
    }),
  )
})

test('a chunk larger than the capacity is not held and drives nothing out', () => {
  const recent = new RecentBytes(100)
  recent.add(0, lent(content.subarray(0, 50)))
  recent.add(50, lent(content.subarray(50, 200)))
  assert.equal(recent.read(Buffer.alloc(1000), 0), 50)
  assert.equal(recent.read(Buffer.alloc(1000), 50), 0)
})

test('after clear nothing is held, and it can be used again', () => {
  const recent = new RecentBytes(100)
  recent.add(0, lent(content.subarray(0, 80)))
  recent.clear()
  assert.equal(recent.read(Buffer.alloc(10), 0), 0)
  recent.add(80, lent(content.subarray(80, 160)))
  assert.equal(recent.read(Buffer.alloc(100), 80), 80)
})
