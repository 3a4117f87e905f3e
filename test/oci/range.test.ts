import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseContentRange, parseRange } from '../../src/oci/range.ts'

const all = undefined
const cases = [
  // header, size, what it means
  [undefined, 10, all],
  ['bytes=0-0', 10, { start: 0, end: 1 }],
  ['bytes=0-9', 10, { start: 0, end: 10 }],
  ['bytes=2-5', 10, { start: 2, end: 6 }],
  ['bytes=5-', 10, { start: 5, end: 10 }],
  ['bytes=9-', 10, { start: 9, end: 10 }],
  ['bytes=-3', 10, { start: 7, end: 10 }],
  ['BYTES=0-0', 10, { start: 0, end: 1 }],
  ['bytes=00-001', 10, { start: 0, end: 2 }],
  ['bytes=0-99', 10, { start: 0, end: 10 }],
  ['bytes=0-18446744073709551615', 10, { start: 0, end: 10 }],
  [`bytes=0-${'9'.repeat(400)}`, 10, { start: 0, end: 10 }],
  ['bytes=-99', 10, { start: 0, end: 10 }],
  [`bytes=-${'9'.repeat(400)}`, 10, { start: 0, end: 10 }],
  ['bytes=-0', 10, 'unsatisfiable'],
  ['bytes=10-', 10, 'unsatisfiable'],
  ['bytes=10-20', 10, 'unsatisfiable'],
  ['bytes=9007199254740993-', 10, 'unsatisfiable'],
  ['bytes=18446744073709551615-', 10, 'unsatisfiable'],
  [`bytes=${'9'.repeat(400)}-`, 10, 'unsatisfiable'],
  ['bytes=0-', 0, 'unsatisfiable'],
  ['bytes=0-0', 0, 'unsatisfiable'],
  ['bytes=-5', 0, 'unsatisfiable'],
  ['bytes=5-3', 0, 'unsatisfiable'],
  ['', 10, all],
  ['bytes=', 10, all],
  ['bytes=-', 10, all],
  ['bytes=abc', 10, all],
  ['bytes=5-3', 10, 'unsatisfiable'],
  ['bytes=18446744073709551615-5', 10, 'unsatisfiable'],
  ['bytes=500-0', 1000, 'unsatisfiable'],
  ['bytes= 0-5', 10, all],
  ['bytes=0 - 5', 10, all],
  ['bytes =0-5', 10, all],
  ['bytes=,0-5', 10, all],
  ['bytes=--5', 10, all],
  ['bytes=+1-2', 10, all],
  ['bytes=0x1-2', 10, all],
  ['bytes=1e1-', 10, all],
  ['bytes=1.0-2', 10, all],
  ['bytes=0-1\n', 10, all],
  ['bytes=١-٢', 10, all],
  ['bytes 0-1', 10, all],
  ['0-1', 10, all],
  ['items=0-1', 10, all],
  ['bytes=0-0,5-5', 10, all],
  [`bytes=${'0-,'.repeat(1000)}0-`, 10, all],
] as const

for (const [header, size, expected] of cases) {
  test(`${header?.slice(0, 40)} of ${size} bytes is ${JSON.stringify(expected) ?? 'everything'}`, () => {
    assert.deepEqual(parseRange(header, size), expected)
  })
}

test('every range inside of the size is read back', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.maxSafeNat(), fc.maxSafeNat(), (a, b, c) => {
      const [start = 0, last = 0, size = 0] = [a, b, c].sort((x, y) => x - y)
      fc.pre(last < size)
      assert.deepEqual(parseRange(`bytes=${start}-${last}`, size), { start, end: last + 1 })
      assert.deepEqual(parseRange(`bytes=${start}-`, size), { start, end: size })
      const tail = size - start
      assert.deepEqual(parseRange(`bytes=-${tail}`, size), { start, end: size })
    }),
  )
})

test('any range that is read lies inside of the size and is not empty', () => {
  const numbers = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 70n }).map(String), fc.constant(''))
  const nearly = fc.tuple(numbers, numbers).map(([first, last]) => `bytes=${first}-${last}`)
  fc.assert(
    fc.property(fc.oneof(nearly, fc.string()), fc.oneof(fc.nat(), fc.maxSafeNat()), (header, size) => {
      const range = parseRange(header, size)
      if (range === undefined || range === 'unsatisfiable') return
      assert.ok(Number.isSafeInteger(range.start) && Number.isSafeInteger(range.end))
      assert.ok(0 <= range.start && range.start < range.end && range.end <= size)
    }),
    { numRuns: 1000 },
  )
})

test('a Content-Range is read, with or without the size', () => {
  assert.deepEqual(parseContentRange('bytes 0-99/200'), { start: 0, end: 100, size: 200 })
  assert.deepEqual(parseContentRange('bytes 0-99/100'), { start: 0, end: 100, size: 100 })
  assert.deepEqual(parseContentRange('bytes 5-5/*'), { start: 5, end: 6, size: undefined })
  assert.deepEqual(parseContentRange('Bytes 0-0/1'), { start: 0, end: 1, size: 1 })
})

const wrongContentRanges = [
  undefined,
  '',
  'bytes */200',
  'bytes 0-99',
  'bytes 0-99/',
  'bytes 0-99/99',
  'bytes 99-0/200',
  'bytes 200-200/200',
  'bytes=0-99/200',
  'bytes -5/200',
  'bytes 5-/200',
  'items 0-99/200',
  'bytes 0-9007199254740991/*',
  'bytes 0-5/9007199254740992',
  'bytes 9007199254740993-9007199254740995/*',
  `bytes 0-${'9'.repeat(400)}/*`,
  `bytes 0-5/${'9'.repeat(400)}`,
  'bytes 0-99/200\n',
  'bytes 0-99/200, bytes 0-99/200',
]
for (const header of wrongContentRanges) {
  test(`${JSON.stringify(header)?.slice(0, 50)} is not a usable Content-Range`, () => {
    assert.equal(parseContentRange(header), undefined)
  })
}

test('every Content-Range is read back, and none is read that is inconsistent', () => {
  const largest = Number.MAX_SAFE_INTEGER - 1
  const number = fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: largest }))
  fc.assert(
    fc.property(number, number, fc.option(number, { nil: undefined }), (start, last, size) => {
      const consistent = start <= last && (size === undefined || last < size)
      const expected = consistent ? { start, end: last + 1, size } : undefined
      assert.deepEqual(parseContentRange(`bytes ${start}-${last}/${size ?? '*'}`), expected)
    }),
    { numRuns: 1000 },
  )
})

test('a hostile range is refused at once', () => {
  const hostile = [
    `a${'-'.repeat(1e5)}`,
    'a_'.repeat(5e4),
    `bytes=${'-'.repeat(1e5)}`,
    `bytes=${'1'.repeat(1e5)}x`,
    `bytes=${'0-,'.repeat(33_333)}`,
    `bytes ${'1'.repeat(1e5)}-${'1'.repeat(1e5)}/x`,
    `bytes${' '.repeat(1e5)}`,
  ]
  for (const header of hostile) {
    const before = process.threadCpuUsage()
    assert.equal(parseRange(header, 10), undefined)
    assert.equal(parseContentRange(header), undefined)
    assert.ok(process.threadCpuUsage(before).user < 50_000, `slow on ${header.slice(0, 20)}`)
  }
})
