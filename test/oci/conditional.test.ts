import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { matchesEntityTag, rangeStillApplies } from '../../src/oci/conditional.ts'
import { digestOf } from '../../src/oci/digest.ts'

const digest = digestOf(Buffer.from('x'))
const other = digestOf(Buffer.from('y'))
const tag = `"${digest}"`

const matches = [
  tag,
  `  ${tag}\t`,
  `W/${tag}`,
  '*',
  ' * ',
  digest,
  `"${other}", ${tag}`,
  `"${other}",${tag},"z"`,
  `${other}, ${digest}`,
  `"a,b" , W/${tag}`,
  `,, ,${tag}`,
]
for (const header of matches) {
  test(`If-None-Match ${header.slice(0, 20)}... names the content`, () => {
    assert.equal(matchesEntityTag(header, tag), true)
  })
}

const misses = [
  undefined,
  '',
  ',',
  `"${other}"`,
  other,
  '"*"',
  `"a", *`,
  `"${digest}`,
  `${digest}"`,
  `w/${tag}`,
  `W/${digest}`,
  `"x,${digest},y"`,
  `${tag}${tag}`,
  digest.toUpperCase(),
  digest.slice(7),
]
for (const header of misses) {
  test(`If-None-Match ${header?.slice(0, 20)}... does not name the content`, () => {
    assert.equal(matchesEntityTag(header, tag), false)
  })
}

test('an entity tag with a comma is one tag, and a bare word matches only as a digest', () => {
  assert.equal(matchesEntityTag('"x", "a,b"', '"a,b"'), true)
  assert.equal(matchesEntityTag('"a"', '"a,b"'), false)
  assert.equal(matchesEntityTag('v1', '"v1"'), false)
  assert.equal(matchesEntityTag('', '""'), false)
  assert.equal(matchesEntityTag('""', '""'), true)
  assert.equal(matchesEntityTag('"a"', 'W/"a"'), true)
})

test('an entity tag is found wherever it stands in a list, and not when it is not there', () => {
  const entityTag = fc.tuple(fc.constantFrom('', 'W/'), fc.stringMatching(/^[!#-~]{0,8}$/))
  fc.assert(
    fc.property(fc.array(entityTag), fc.stringMatching(/^[!#-~]{0,8}$/), fc.nat(), (others, opaque, at) => {
      fc.pre(others.every(([, text]) => text !== opaque))
      const list = others.map(([weak, text]) => `${weak}"${text}"`)
      assert.equal(matchesEntityTag(list.join(', '), `"${opaque}"`), false)
      list.splice(at % (list.length + 1), 0, `W/"${opaque}"`)
      assert.equal(matchesEntityTag(list.join(', '), `"${opaque}"`), true)
    }),
  )
})

test('a range is honoured next to the same strong tag only', () => {
  assert.equal(rangeStillApplies(undefined, tag), true)
  assert.equal(rangeStillApplies(tag, tag), true)
  assert.equal(rangeStillApplies(` ${tag} `, tag), true)
  const refused = [
    '',
    '*',
    digest,
    `W/${tag}`,
    `"${other}"`,
    `${tag}, ${tag}`,
    'Wed, 21 Oct 2015 07:28:00 GMT',
    new Date().toUTCString(),
  ]
  for (const header of refused) assert.equal(rangeStillApplies(header, tag), false, header)
  assert.equal(rangeStillApplies('W/"a"', 'W/"a"'), false)
})

test('any string is compared without throwing', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (header) => {
      assert.equal(matchesEntityTag(header, tag), header.trim() === '*' || header.includes(digest))
      assert.equal(rangeStillApplies(header, tag), header.trim() === tag)
    }),
  )
})

test('a hostile list is compared at once', () => {
  for (const header of [
    '"'.repeat(65_537),
    ','.repeat(1e5),
    ' '.repeat(1e5).concat('x'),
    `a${'-'.repeat(1e5)}`,
    'W/'.repeat(5e4),
    '"",'.repeat(33_333),
    `W/"${' '.repeat(1e5)}`,
  ]) {
    const before = process.threadCpuUsage()
    assert.equal(matchesEntityTag(header, tag), false)
    assert.equal(rangeStillApplies(header, tag), false)
    assert.ok(process.threadCpuUsage(before).user < 50_000, `slow on ${header.slice(0, 20)}`)
  }
})
