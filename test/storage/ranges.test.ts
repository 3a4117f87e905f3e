import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Ranges } from '../../src/storage/ranges.ts'

const limit = 60
const interval = fc.record({
  start: fc.nat(limit),
  length: fc.integer({ min: -2, max: 20 }),
  isRemoved: fc.nat(3).map((one) => one === 0),
})
const intervals = fc.array(interval, { maxLength: 25 })

/** The ranges, and the same as a naive set of the bytes that are there. */
function build(added: readonly { start: number; length: number; isRemoved: boolean }[]) {
  const ranges = new Ranges()
  const model = new Set<number>()
  for (const { start, length, isRemoved } of added) {
    if (isRemoved) ranges.remove(start, start + length)
    else ranges.add(start, start + length)
    for (let byte = start; byte < start + length; byte += 1) {
      if (isRemoved) model.delete(byte)
      else model.add(byte)
    }
  }
  return { ranges, model }
}

test('the total is the number of different bytes that were added', () => {
  fc.assert(
    fc.property(intervals, (added) => {
      const { ranges, model } = build(added)
      assert.equal(ranges.total, model.size)
    }),
  )
})

test('the intervals are sorted, hold exactly the bytes added, and neither touch nor overlap', () => {
  fc.assert(
    fc.property(intervals, (added) => {
      const { ranges, model } = build(added)
      const bytes: number[] = []
      let before = -1
      for (const { start, end } of ranges) {
        assert.ok(start > before && end > start, `${start} to ${end} after ${before}`)
        before = end
        for (let byte = start; byte < end; byte += 1) bytes.push(byte)
      }
      assert.deepEqual(
        bytes,
        [...model].toSorted((one, other) => one - other),
      )
    }),
  )
})

test('presentUntil finds the end of the run at every position', () => {
  fc.assert(
    fc.property(intervals, fc.nat(limit + 25), (added, position) => {
      const { ranges, model } = build(added)
      let expected = position
      while (model.has(expected)) expected += 1
      assert.equal(ranges.presentUntil(position), expected)
    }),
  )
})

test('firstGap finds the first missing interval from any position, below any size', () => {
  fc.assert(
    fc.property(intervals, fc.nat(limit + 25), fc.nat(limit + 25), (added, size, from) => {
      const { ranges, model } = build(added)
      let start = from
      while (model.has(start)) start += 1
      let end = start
      while (end < size && !model.has(end)) end += 1
      assert.deepEqual(ranges.firstGap(size, from), start < size ? { start, end } : undefined)
    }),
  )
})

test('gaps are all that is missing between two positions', () => {
  fc.assert(
    fc.property(intervals, fc.nat(limit + 25), fc.nat(limit + 25), (added, start, end) => {
      const { ranges, model } = build(added)
      const missing = ranges.gaps(start, end).flatMap((gap) => {
        return Array.from({ length: gap.end - gap.start }, (_, index) => gap.start + index)
      })
      const all = Array.from({ length: Math.max(0, end - start) }, (_, index) => start + index)
      assert.deepEqual(
        missing,
        all.filter((byte) => !model.has(byte)),
      )
    }),
  )
})

test('filling gap after gap makes it whole', () => {
  fc.assert(
    fc.property(intervals, fc.nat(limit + 25), (added, size) => {
      const { ranges, model } = build(added)
      for (let gap = ranges.firstGap(size); gap; gap = ranges.firstGap(size)) {
        ranges.add(gap.start, gap.end)
        for (let byte = gap.start; byte < gap.end; byte += 1) {
          assert.ok(!model.has(byte), `${byte} was there already`)
          model.add(byte)
        }
      }
      assert.equal(ranges.presentUntil(0), Math.max(size, ranges.presentUntil(0)))
      assert.equal(ranges.total, model.size)
    }),
  )
})

test('positions beyond 32 bits', () => {
  const ranges = new Ranges()
  ranges.add(2 ** 40, 2 ** 40 + 10)
  ranges.add(0, 2 ** 33)
  assert.equal(ranges.presentUntil(5), 2 ** 33)
  assert.deepEqual(ranges.firstGap(2 ** 41, 2 ** 40), { start: 2 ** 40 + 10, end: 2 ** 41 })
  assert.deepEqual(ranges.firstGap(2 ** 41), { start: 2 ** 33, end: 2 ** 40 })
  assert.equal(ranges.total, 2 ** 33 + 10)
})
