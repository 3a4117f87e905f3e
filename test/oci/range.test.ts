import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { neededRanges, parseContentRange, parseRanges, satisfiableRanges } from '../../src/oci/range.ts'

const all = undefined
const digits = '9'.repeat(400)
const many = (count: number): string =>
  `bytes=${Array.from({ length: count }, (_, n) => `${3 * n}-${3 * n}`).join(',')}`

/** What a header means for a representation of `size` bytes. */
function ranges(header: string | undefined, size: number) {
  const specs = parseRanges(header)
  return specs && satisfiableRanges(specs, size)
}

type Expected = readonly (readonly [start: number, end: number])[] | 'unsatisfiable' | undefined
const cases: readonly (readonly [header: string | undefined, size: number, expected: Expected])[] = [
  [undefined, 10, all],
  ['bytes=0-0', 10, [[0, 1]]],
  ['bytes=0-9', 10, [[0, 10]]],
  ['bytes=2-5', 10, [[2, 6]]],
  ['bytes=5-', 10, [[5, 10]]],
  ['bytes=9-', 10, [[9, 10]]],
  ['bytes=-3', 10, [[7, 10]]],
  ['BYTES=0-0', 10, [[0, 1]]],
  ['bytes=00-001', 10, [[0, 2]]],
  ['bytes=0-99', 10, [[0, 10]]],
  ['bytes=0-18446744073709551615', 10, [[0, 10]]],
  [`bytes=0-${digits}`, 10, [[0, 10]]],
  ['bytes=-99', 10, [[0, 10]]],
  [`bytes=-${digits}`, 10, [[0, 10]]],
  ['bytes=-0', 10, 'unsatisfiable'],
  ['bytes=10-', 10, 'unsatisfiable'],
  ['bytes=10-20', 10, 'unsatisfiable'],
  ['bytes=9007199254740993-', 10, 'unsatisfiable'],
  ['bytes=18446744073709551615-', 10, 'unsatisfiable'],
  [`bytes=${digits}-`, 10, 'unsatisfiable'],
  ['bytes=0-', 0, 'unsatisfiable'],
  ['bytes=0-0', 0, 'unsatisfiable'],
  ['bytes=-5', 0, 'unsatisfiable'],
  ['bytes=5-3', 0, 'unsatisfiable'],
  ['', 10, all],
  ['bytes=', 10, all],
  ['bytes=-', 10, all],
  ['bytes=,', 10, all],
  ['bytes=abc', 10, all],
  ['bytes=5-3', 10, 'unsatisfiable'],
  ['bytes=18446744073709551615-5', 10, 'unsatisfiable'],
  ['bytes=500-0', 1000, 'unsatisfiable'],
  ['bytes= 0-5', 10, all],
  ['bytes=0 - 5', 10, all],
  ['bytes =0-5', 10, all],
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
  // The examples of RFC 9110 14.1.2, of 10,000 bytes.
  ['bytes=0-499', 10_000, [[0, 500]]],
  ['bytes=500-999', 10_000, [[500, 1000]]],
  ['bytes=-500', 10_000, [[9500, 10_000]]],
  ['bytes=9500-', 10_000, [[9500, 10_000]]],
  [
    'bytes=0-0,-1',
    10_000,
    [
      [0, 1],
      [9999, 10_000],
    ],
  ],
  ['bytes= 0-999, 4500-5499, -1000', 10_000, all],
  [
    'bytes=0-999, 4500-5499, -1000',
    10_000,
    [
      [0, 1000],
      [4500, 5500],
      [9000, 10_000],
    ],
  ],
  [
    'bytes=500-600,601-999',
    10_000,
    [
      [500, 601],
      [601, 1000],
    ],
  ],
  ['bytes=500-700,601-999', 10_000, [[500, 1000]]],
  // In the order in which they were asked for, those that overlap where the first of them was.
  [
    'bytes=5-5,0-0',
    10,
    [
      [5, 6],
      [0, 1],
    ],
  ],
  [
    'bytes=6-7,2-2,7-8',
    10,
    [
      [6, 9],
      [2, 3],
    ],
  ],
  [
    'bytes=8-8,1-3,3-4,0-1',
    10,
    [
      [8, 9],
      [0, 5],
    ],
  ],
  ['bytes=1-1,1-1', 10, [[1, 2]]],
  [
    'bytes=0-1,2-3',
    10,
    [
      [0, 2],
      [2, 4],
    ],
  ],
  [
    'bytes=0-4,5-9',
    10,
    [
      [0, 5],
      [5, 10],
    ],
  ],
  // Empty elements mean nothing (RFC 9110 5.6.1.2).
  ['bytes=,0-5', 10, [[0, 6]]],
  ['bytes=0-1,, ,\t4-5 , ', 10, all],
  [
    'bytes=0-1,, ,\t4-5 ,',
    10,
    [
      [0, 2],
      [4, 6],
    ],
  ],
  // What lies outside is left out.
  ['bytes=0-0,10-', 10, [[0, 1]]],
  [
    'bytes=10-,0-0,-0,3-3',
    10,
    [
      [0, 1],
      [3, 4],
    ],
  ],
  ['bytes=10-,11-12,-0', 10, 'unsatisfiable'],
  ['bytes=0-0,5-3', 10, 'unsatisfiable'],
  ['bytes=0-0,abc', 10, all],
  ['bytes=0-0,-', 10, all],
  // More than there is: all of it, once.
  ['bytes=0-,0-', 10, all],
  ['bytes=0-5,4-9', 10, all],
  [`bytes=${'0-,'.repeat(1000)}0-`, 10, all],
  [many(1024), 5000, Array.from({ length: 1024 }, (_, n) => [3 * n, 3 * n + 1] as const)],
  [many(1025), 5000, all],
]

for (const [header, size, expected] of cases) {
  const meaning = JSON.stringify(expected)?.slice(0, 60) ?? 'everything'
  test(`${JSON.stringify(header)?.slice(0, 40)} of ${size} bytes is ${meaning}`, () => {
    const spans = Array.isArray(expected) ? expected.map(([start, end]) => ({ start, end })) : expected
    assert.deepEqual(ranges(header, size), spans)
  })
}

test('every range inside of the size is read back', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.maxSafeNat(), fc.maxSafeNat(), (a, b, c) => {
      const [start = 0, last = 0, size = 0] = [a, b, c].sort((x, y) => x - y)
      fc.pre(last < size)
      assert.deepEqual(ranges(`bytes=${start}-${last}`, size), [{ start, end: last + 1 }])
      assert.deepEqual(ranges(`bytes=${start}-`, size), [{ start, end: size }])
      const tail = size - start
      assert.deepEqual(ranges(`bytes=-${tail}`, size), [{ start, end: size }])
    }),
  )
})

const number = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 70n }).map(String),
  fc.nat(120).map(String),
  fc.constant(''),
)
const nearly = fc
  .array(fc.tuple(number, number), { minLength: 1, maxLength: 6 })
  .map((each) => `bytes=${each.map(([first, last]) => `${first}-${last}`).join(',')}`)

test('any ranges that are read lie inside of the size, apart, not empty, and are no more than that in all', () => {
  const sizes = fc.oneof(fc.nat(120), fc.nat(), fc.maxSafeNat())
  fc.assert(
    fc.property(fc.oneof({ weight: 9, arbitrary: nearly }, fc.string()), sizes, (header, size) => {
      const read = ranges(header, size)
      if (read === undefined || read === 'unsatisfiable') return
      assert.ok(read.length > 0)
      for (const { start, end } of read) {
        assert.ok(Number.isSafeInteger(start) && Number.isSafeInteger(end))
        assert.ok(0 <= start && start < end && end <= size)
      }
      const inOrder = read.toSorted((a, b) => a.start - b.start)
      for (const [index, { start }] of inOrder.entries())
        assert.ok(index === 0 || start >= (inOrder[index - 1]?.end ?? 0))
      assert.ok(read.reduce((sum, { start, end }) => sum + end - start, 0) <= size)
    }),
    { numRuns: 2000 },
  )
})

const span = fc.tuple(fc.nat(60), fc.nat(60)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)

test('whatever overlaps: the very bytes that were asked for, each once, in the order of who asked first', () => {
  fc.assert(
    fc.property(
      fc.array(span, { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 1, max: 400 }),
      (asked, size) => {
        const read = ranges(`bytes=${asked.map(([first, last]) => `${first}-${last}`).join(',')}`, size)
        const inside = asked.flatMap(([first, last]) =>
          first < size ? [[first, Math.min(last, size - 1)] as const] : [],
        )
        const bytes = inside.reduce((sum, [first, last]) => sum + last - first + 1, 0)
        if (inside.length === 0) return assert.equal(read, 'unsatisfiable')
        if (bytes > size) return assert.equal(read, undefined)
        assert.ok(Array.isArray(read))
        const wanted = new Set(inside.flatMap(([first, last]) => numbersFrom(first, last + 1)))
        const given = read.flatMap(({ start, end }) => numbersFrom(start, end))
        assert.equal(new Set(given).size, given.length)
        assert.deepEqual(
          given.toSorted((a, b) => a - b),
          [...wanted].toSorted((a, b) => a - b),
        )
        const places = read.map(({ start, end }) =>
          inside.findIndex(([first]) => start <= first && first < end),
        )
        assert.deepEqual(
          places,
          places.toSorted((a, b) => a - b),
        )
        // Only what overlaps is joined: where nothing does, there are as many parts as were asked for.
        if (bytes === wanted.size) assert.equal(read.length, inside.length)
      },
    ),
    { numRuns: 2000 },
  )
})

const needs: readonly (readonly [header: string, size: number | undefined, expected: Expected])[] = [
  ['bytes=2-3', undefined, [[2, 4]]],
  [
    'bytes=2-3,8-9,3-5',
    undefined,
    [
      [2, 6],
      [8, 10],
    ],
  ],
  ['bytes=2-', undefined, all],
  ['bytes=-2', undefined, all],
  ['bytes=2-3,-2', undefined, all],
  ['bytes=3-2', undefined, all],
  [`bytes=${digits}-${digits}`, undefined, all],
  ['bytes=2-3', 10, [[2, 4]]],
  [
    'bytes=5-5,2-3',
    10,
    [
      [5, 6],
      [2, 4],
    ],
  ],
  // All is verified before the last byte is given, and so all is needed, behind what is asked for.
  [
    'bytes=-2',
    10,
    [
      [8, 10],
      [0, 10],
    ],
  ],
  [
    'bytes=2-',
    10,
    [
      [2, 10],
      [0, 10],
    ],
  ],
  [
    'bytes=2-3,9-9',
    10,
    [
      [2, 4],
      [9, 10],
      [0, 10],
    ],
  ],
  ['bytes=10-', 10, all],
  ['bytes=0-,0-', 10, all],
]
for (const [header, size, expected] of needs) {
  test(`whoever asks for ${header.slice(0, 30)} of ${size ?? 'nobody knows how many'} bytes needs ${JSON.stringify(expected) ?? 'all'}`, () => {
    const spans = Array.isArray(expected) ? expected.map(([start, end]) => ({ start, end })) : expected
    const specs = parseRanges(header)
    assert.ok(specs)
    assert.deepEqual(neededRanges(specs, size), spans)
  })
}

function numbersFrom(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, n) => start + n)
}

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
    `bytes=${','.repeat(1e5)}`,
    `bytes=0-0${' '.repeat(1e5)}x`,
    `bytes=0-0,${' '.repeat(1e5)},x`,
    `bytes ${'1'.repeat(1e5)}-${'1'.repeat(1e5)}/x`,
    `bytes${' '.repeat(1e5)}`,
  ]
  for (const header of hostile) {
    const before = process.threadCpuUsage()
    assert.equal(ranges(header, 10), undefined)
    assert.equal(parseContentRange(header), undefined)
    assert.ok(process.threadCpuUsage(before).user < 50_000, `slow on ${header.slice(0, 20)}`)
  }
})
