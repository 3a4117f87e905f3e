/** Bodies of several ranges; that they are sent as they are is tested in several-ranges.test.ts. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { multipart } from '../../src/http/multipart.ts'
import { pseudoRandomBytes } from '../support/images.ts'
import { readMultipart } from '../support/multipart.ts'

const content = pseudoRandomBytes(2000, 'parts')
const type = 'application/octet-stream'

/** As whoever sends it puts it together. */
function bodyOf({ parts, tail }: ReturnType<typeof multipart>): Buffer {
  const pieces = parts.flatMap(({ head, start, end }) => [
    head ?? Buffer.alloc(0),
    content.subarray(start, end),
  ])
  return Buffer.concat([...pieces, tail ?? Buffer.alloc(0)])
}

test('any parts are read back by whoever reads as RFC 2046 has it, and their length is told', () => {
  const span = fc
    .tuple(fc.nat(999), fc.integer({ min: 1, max: 1000 }))
    .map(([start, length]) => ({ start, end: start + length }))
  fc.assert(
    fc.property(fc.array(span, { minLength: 1, maxLength: 12 }), (ranges) => {
      const made = multipart(ranges, { size: content.length, type })
      const body = bodyOf(made)
      assert.equal(body.length, made.length)
      const read = readMultipart(made.contentType, body)
      assert.deepEqual(
        read.map(({ start, end, size }) => ({ start, end, size })),
        ranges.map((range) => ({ ...range, size: content.length })),
      )
      for (const { start, end, bytes } of read) assert.ok(bytes.equals(content.subarray(start, end)))
    }),
  )
})

test('a boundary is another one each time: no blob can be made that has it', () => {
  const ranges = [
    { start: 0, end: 1 },
    { start: 2, end: 3 },
  ]
  const boundaries = Array.from({ length: 100 }, () => multipart(ranges, { size: 10, type }).contentType)
  assert.equal(new Set(boundaries).size, 100)
  for (const boundary of boundaries) assert.match(boundary, /boundary=[0-9a-f]{32,70}$/)
})
