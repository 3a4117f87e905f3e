import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  isIndexMediaType,
  isManifestMediaType,
  isSchema1MediaType,
  manifestAccept,
  manifestMediaTypes,
  parseMediaType,
} from '../../src/oci/media-type.ts'

test('an upstream is asked for every manifest type and for whatever else there is', () => {
  assert.deepEqual([...manifestAccept].sort(), [
    '*/*',
    'application/vnd.docker.distribution.manifest.list.v2+json',
    'application/vnd.docker.distribution.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v1+prettyjws',
    'application/vnd.docker.distribution.manifest.v2+json',
    'application/vnd.oci.image.index.v1+json',
    'application/vnd.oci.image.manifest.v1+json',
  ])
})

test('indexes, schema 1 and other manifests are told apart', () => {
  const kinds = Object.entries(manifestMediaTypes).map(([name, type]) => {
    assert.equal(isManifestMediaType(type), true)
    return [name, isIndexMediaType(type) ? 'index' : isSchema1MediaType(type) ? 'schema1' : 'image']
  })
  assert.deepEqual(Object.fromEntries(kinds), {
    ociManifest: 'image',
    ociIndex: 'index',
    dockerManifest: 'image',
    dockerManifestList: 'index',
    dockerSchema1Signed: 'schema1',
    dockerSchema1: 'schema1',
  })
  for (const other of [undefined, '', '*/*', 'application/json', 'constructor', 'ociIndex', '__proto__']) {
    assert.equal(isManifestMediaType(other), false)
    assert.equal(isIndexMediaType(other), false)
    assert.equal(isSchema1MediaType(other), false)
  }
})

const cases = [
  ['application/json', 'application/json'],
  ['Application/JSON', 'application/json'],
  ['application/json; charset=utf-8', 'application/json'],
  ['application/json;charset="a;b"', 'application/json'],
  [' application/json ;', 'application/json'],
  [manifestMediaTypes.dockerSchema1Signed, manifestMediaTypes.dockerSchema1Signed],
  [undefined, undefined],
  ['', undefined],
  ['application', undefined],
  ['application/', undefined],
  ['/json', undefined],
  ['a/b/c', undefined],
  ['a b/c', undefined],
  ['a/b c', undefined],
  ['a/b, c/d', undefined],
  ['a/b\r\nX-Evil: 1', undefined],
  ['a/b\n', undefined],
  ['a/\u00e9', undefined],
  ['a/\u212a', undefined], // the Kelvin sign, which lower-cases to k
] as const
for (const [contentType, expected] of cases) {
  test(`Content-Type ${JSON.stringify(contentType)} is ${expected ?? 'malformed'}`, () => {
    assert.equal(parseMediaType(contentType), expected)
  })
}

test('what is parsed is a bare lower-case type that parses to itself', () => {
  const nearly = fc.tuple(
    fc.stringMatching(/^[\w!#$+.-]{1,9}$/),
    fc.stringMatching(/^[\w!#$+.-]{1,9}$/),
    fc.string(),
  )
  fc.assert(
    fc.property(nearly, ([type, subtype, parameters]) => {
      const expected = `${type}/${subtype}`.toLowerCase()
      assert.equal(parseMediaType(`${type}/${subtype} ;${parameters}`), expected)
      assert.equal(parseMediaType(expected), expected)
    }),
  )
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      assert.match(parseMediaType(text) ?? 'a/b', /^[!-~]+\/[!-~]+$/)
    }),
  )
})

test('a hostile Content-Type is refused at once', () => {
  for (const text of [
    `a${'-'.repeat(1e5)}`,
    `a/${'-'.repeat(1e5)} !`,
    ' '.repeat(1e5),
    `a/b${' '.repeat(1e5)}!`,
    'a_'.repeat(5e4),
    'a/'.repeat(5e4),
  ]) {
    const before = process.threadCpuUsage()
    assert.equal(parseMediaType(text), undefined)
    assert.ok(process.threadCpuUsage(before).user < 50_000, `slow on ${text.slice(0, 20)}`)
  }
})
