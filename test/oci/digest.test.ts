import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  createDigestHash,
  digestAlgorithm,
  digestHex,
  digestOf,
  finishDigest,
  isDigest,
  isDigestOfNothing,
  parseDigest,
} from '../../src/oci/digest.ts'
import { RegistryError } from '../../src/oci/error.ts'

const hex = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

const invalid = [
  ['', 'empty'],
  ['sha256', 'algorithm alone'],
  ['sha256:', 'no hex'],
  ['sha256:../../x', 'path traversal'],
  [`sha256:../${hex.slice(3)}`, 'path traversal of the right length'],
  [`SHA256:${hex}`, 'upper-case algorithm'],
  [`sha256:${hex.toUpperCase()}`, 'upper-case hex'],
  [`sha256:${hex.slice(1)}`, '63 hex digits'],
  [`sha256:${hex}0`, '65 hex digits'],
  [`sha512:${hex}`, 'sha512 with 64 hex digits'],
  [`sha256:${hex}${hex}`, 'sha256 with 128 hex digits'],
  ['sha256:%2e%2e', 'percent encoding'],
  [`sha256:${hex}\n`, 'trailing newline'],
  [`\nsha256:${hex}`, 'leading newline'],
  [`sha256:${hex.slice(1)}\0`, 'NUL'],
  [`sha256:${hex.slice(1)}\u0430`, 'Cyrillic a'],
  [`sha384:${hex}${hex.slice(32)}`, 'another algorithm'],
  [hex, 'hex alone'],
] as const

for (const [text, what] of invalid) {
  test(`${what} is not a digest`, () => {
    assert.equal(isDigest(text), false)
    assert.throws(() => parseDigest(text), { name: 'RegistryError', code: 'DIGEST_INVALID', status: 400 })
  })
}

test('a digest is parsed unchanged and taken apart', () => {
  const digest = parseDigest(`sha256:${hex}`)
  assert.equal(digest, `sha256:${hex}`)
  assert.equal(digestAlgorithm(digest), 'sha256')
  assert.equal(digestHex(digest), hex)
  const long = parseDigest(`sha512:${hex}${hex}`)
  assert.equal(digestAlgorithm(long), 'sha512')
  assert.equal(digestHex(long), hex + hex)
})

test('the digest of nothing is the known one', () => {
  assert.equal(digestOf(new Uint8Array()), `sha256:${hex}`)
})

test('the digest of any bytes parses, names its hash, and is that of the same bytes in pieces', () => {
  const algorithms = fc.constantFrom('sha256' as const, 'sha512' as const)
  fc.assert(
    fc.property(fc.uint8Array(), fc.nat(), algorithms, (bytes, cut, algorithm) => {
      const digest = digestOf(bytes, algorithm)
      assert.equal(parseDigest(digest), digest)
      assert.equal(digestAlgorithm(digest), algorithm)
      assert.equal(digestHex(digest), createHash(algorithm).update(bytes).digest('hex'))
      const middle = cut % (bytes.length + 1)
      const running = createDigestHash(algorithm)
      running.update(bytes.subarray(0, middle)).update(bytes.subarray(middle))
      assert.equal(finishDigest(running, algorithm), digest)
    }),
  )
})

test('any string either is a digest that is safe as a file name or is refused with a RegistryError', () => {
  const nearly = fc.stringMatching(/^(?:sha256|sha512|SHA256|md5):[0-9a-fA-F./]{60,130}$/)
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), nearly), (text) => {
      try {
        assert.match(digestHex(parseDigest(text)), /^[0-9a-f]{64}$|^[0-9a-f]{128}$/)
      } catch (error) {
        assert.ok(error instanceof RegistryError && error.code === 'DIGEST_INVALID')
        assert.ok(error.message.length < 300)
      }
    }),
  )
})

test('a hostile digest is refused at once', () => {
  for (const text of [
    `a${'-'.repeat(1e5)}`,
    `sha256:${'a'.repeat(1e5)}`,
    `sha512:${'a_'.repeat(5e4)}`,
    ':'.repeat(1e5),
  ]) {
    const before = process.threadCpuUsage()
    assert.throws(() => parseDigest(text), RegistryError)
    assert.ok(process.threadCpuUsage(before).user < 50_000, `slow on ${text.slice(0, 20)}`)
  }
})

test('the digests of no bytes are known, and no others', () => {
  assert.ok(isDigestOfNothing(digestOf(Buffer.alloc(0))))
  assert.ok(isDigestOfNothing(digestOf(Buffer.alloc(0), 'sha512')))
  assert.ok(!isDigestOfNothing(digestOf(Buffer.alloc(1))))
})
