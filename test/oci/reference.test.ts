import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../src/oci/digest.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { isDigestReference, isTag, parseReference } from '../../src/oci/reference.ts'

test('a tag is parsed unchanged and names no content', () => {
  for (const tag of ['latest', '3.20', 'V1_2-rc.1', '_', '0', 'sha256', 'a'.repeat(128)]) {
    assert.equal(parseReference(tag), tag)
    assert.equal(isTag(tag), true)
    assert.equal(isDigestReference(parseReference(tag)), false)
  }
})

test('a digest is parsed unchanged and names content', () => {
  const digest = digestOf(Buffer.from('x'))
  assert.equal(parseReference(digest), digest)
  assert.equal(isTag(digest), false)
  assert.equal(isDigestReference(parseReference(digest)), true)
})

const invalidTags = [
  '',
  '.',
  '..',
  '.a',
  '-a',
  'a/b',
  '../a',
  'a b',
  'a\n',
  '\na',
  'a\0',
  'a%2f',
  'é',
  'a'.repeat(129),
]
for (const tag of invalidTags) {
  test(`${JSON.stringify(tag).slice(0, 20)} is not a tag`, () => {
    assert.equal(isTag(tag), false)
    assert.throws(() => parseReference(tag), { name: 'RegistryError', code: 'TAG_INVALID', status: 400 })
  })
}

test('what contains a colon is a digest or nothing', () => {
  for (const text of [':', 'a:b', 'sha256:../../x', `${digestOf(Buffer.from('x'))}\n`, 'sha256:%2e%2e']) {
    assert.throws(() => parseReference(text), { name: 'RegistryError', code: 'DIGEST_INVALID', status: 400 })
  }
})

test('whatever the grammar makes is a tag', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/), (tag) => {
      assert.equal(parseReference(tag), tag)
    }),
  )
})

test('any string is either a reference that is safe as a file name or is refused with a RegistryError', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string({ maxLength: 3 })), (text) => {
      try {
        assert.match(parseReference(text), /^[a-zA-Z0-9_][a-zA-Z0-9._:-]*$/)
      } catch (error) {
        assert.ok(error instanceof RegistryError)
        assert.ok(error.code === 'TAG_INVALID' || error.code === 'DIGEST_INVALID')
      }
    }),
    { numRuns: 1000 },
  )
})

test('a hostile reference is refused at once', () => {
  for (const text of [
    `a${'-'.repeat(1e5)}`,
    'a_'.repeat(5e4),
    'a__'.repeat(33_334),
    `a:${'a'.repeat(1e5)}`,
  ]) {
    const before = process.threadCpuUsage()
    assert.throws(() => parseReference(text), RegistryError)
    assert.ok(process.threadCpuUsage(before).user < 50_000, `slow on ${text.slice(0, 20)}`)
  }
})
