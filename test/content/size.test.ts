// What is known of the size of a blob on its way. Thought of: claims, what is told, ways that are given up; bytes that are
// too many, with and without holes, none at all; another way that may be asked first, and none.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Contradiction, Doubt, Size } from '../../src/content/size.ts'
import { type Way, Ways } from '../../src/content/ways.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { Ranges } from '../../src/storage/ranges.ts'
import { UpstreamError } from '../../src/upstream/error.ts'
import { good } from './scripted-source.ts'

const content = Buffer.alloc(100, 'content')
const digest = digestOf(content)
const digestOfNothing = digestOf(new Uint8Array())

function present(...spans: readonly (readonly [number, number])[]): Ranges {
  const ranges = new Ranges()
  for (const [start, end] of spans) ranges.add(start, end)
  return ranges
}

/** A size that is claimed, and the ways of these claims. */
function scene(claim: number | undefined, ...claims: readonly (number | undefined)[]) {
  const ways = new Ways(1, () => false)
  const added = claims.map((of, n) => ways.add(good(`way${n}/x`, content), { claim: of }))
  const [one, other] = added as [Way, Way]
  return { size: new Size(ways, claim), one, other }
}

test('a claim counts until something is told, and again when that way is given up', () => {
  const { size, one } = scene(100, undefined)
  assert.deepEqual([size.bytes, size.told], [100, undefined])
  size.heed(120, one, undefined)
  assert.deepEqual([size.bytes, size.told], [120, 120])
  one.isGivenUp = true
  assert.deepEqual([size.bytes, size.told], [100, undefined])
})

for (const [what, ranges, of, expected] of [
  ['all of it is here', present([0, 100]), digest, undefined],
  ['more is here', present([0, 101]), digest, undefined],
  ['more is here, with a hole', present([0, 1], [99, 101]), digest, undefined],
  ['less is here', present([0, 99]), digest, 100],
  ['it has a hole', present([0, 98], [99, 100]), digest, 100],
  ['nothing is here', present(), digest, 100],
  ['there is nothing to be here', undefined, digest, 100],
] as const) {
  test(`a claim of 100 bytes where ${what} is ${expected === undefined ? 'refuted' : 'not'}`, () => {
    const { size } = scene(100)
    size.refuteBy(ranges, of)
    assert.equal(size.bytes, expected)
  })
}

test('a claim of no bytes is refuted by any digest but that of nothing', () => {
  for (const [of, expected] of [
    [digest, undefined],
    [digestOfNothing, 0],
  ] as const) {
    const { size } = scene(0)
    size.refuteBy(undefined, of)
    assert.equal(size.bytes, expected)
  }
  const { size } = scene(100)
  size.refuteBy(present([0, 100]), digestOfNothing)
  assert.equal(size.bytes, undefined)
})

test('what was refuted is not believed, whoever tells it', () => {
  for (const end of [1, 100]) {
    const { size, one } = scene(undefined, undefined)
    size.refuteBy(present([0, end]), digest)
    assert.throws(() => size.heed(end, one, present()), Contradiction)
    size.heed(end + 1, one, present())
  }
  const holed = scene(undefined, undefined)
  holed.size.refuteBy(present([0, 10], [20, 100]), digest)
  holed.size.heed(100, holed.one, undefined)
  const empty = scene(undefined, undefined)
  empty.size.refuteBy(present(), digestOfNothing)
  empty.size.heed(0, empty.one, undefined)
  assert.equal(empty.size.bytes, 0)
})

test('less than is here contradicts it; another way is asked first', () => {
  const alone = scene(undefined, undefined)
  assert.throws(() => alone.size.heed(99, alone.one, present([0, 100])), Contradiction)
  const { size, one } = scene(undefined, undefined, undefined)
  assert.throws(() => size.heed(99, one, present([0, 100])), Doubt)
  size.heed(100, one, present([0, 100]))
  assert.equal(size.bytes, 100)
})

test('where all ways say less than is here, the bytes are in doubt, and not one way after the other for ever', () => {
  const here = present([0, 100])
  const { size, one, other } = scene(103, 103, 100)
  assert.throws(() => size.heed(99, one, here), Doubt)
  assert.throws(() => size.heed(99, one, here), Doubt, 'the other one was not heard yet')
  assert.throws(() => size.heed(98, other, here), Contradiction)
  // Who has said something else since counts again.
  const { size: changed, one: first, other: second } = scene(undefined, undefined, undefined)
  assert.throws(() => changed.heed(99, first, here), Doubt)
  changed.heed(100, first, here)
  assert.throws(() => changed.heed(99, second, here), Doubt)
  assert.throws(() => changed.heed(99, first, here), UpstreamError, 'these bytes were agreed with before')
})

test('what contradicts the claim of its own way is asked of another one first, once', () => {
  const { size, one, other } = scene(100, 100, 100)
  assert.throws(() => size.heed(120, one, undefined), Doubt)
  one.doubts = 1
  size.heed(120, one, undefined)
  assert.equal(size.bytes, 120)
  assert.throws(() => size.heed(130, other, undefined), Doubt, 'this one has told nothing, and is no better')
  const alone = scene(100, 100)
  alone.size.heed(120, alone.one, undefined)
  assert.equal(alone.size.bytes, 120)
  const asClaimed = scene(100, 100, 100)
  asClaimed.size.heed(100, asClaimed.one, undefined)
  assert.equal(asClaimed.size.told, 100)
})

test('what is told against what was told: by the same way, by one that did better, by one that did not', () => {
  const { size, one, other } = scene(undefined, undefined, undefined)
  size.heed(100, one, undefined)
  size.heed(110, one, undefined)
  assert.equal(size.told, 110)
  size.heed(110, other, undefined)
  assert.throws(() => size.heed(120, one, undefined), Doubt)
  one.isGivenUp = true
  other.failures = 1
  const { size: alone, one: first, other: second } = scene(undefined, undefined, undefined)
  alone.heed(100, first, undefined)
  first.failures = 1
  alone.heed(120, second, undefined)
  assert.equal(alone.told, 120)
  const late = scene(undefined, undefined, undefined)
  late.size.heed(100, late.one, undefined)
  late.one.doubts = 1
  late.other.doubts = 2
  assert.throws(() => late.size.heed(120, late.other, undefined), Doubt)
})

test('no other way is left: what contradicts what was told, or tells too little after that, is an invalid answer', () => {
  const told = () => {
    const { size, one, other } = scene(undefined, undefined, undefined)
    size.heed(100, one, undefined)
    return { size, one, other }
  }
  const { size, one, other } = told()
  other.isGivenUp = true
  const invalid = {
    code: 'INVALID_RESPONSE',
    message: /it has 99 bytes under a digest whose content has 100$/,
  }
  assert.throws(() => size.heed(99, one, present([0, 100])), invalid)
  assert.equal(size.told, 100)
  size.heed(100, one, present([0, 100]))
})
