import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { type ListedManifest, platformOf, SeenPlatforms } from '../../src/registry/seen-platforms.ts'

function listed(platform: string): ListedManifest {
  const [os = '', architecture = '', variant] = platform.split('/')
  const about = { os, architecture, ...(variant === undefined ? {} : { variant }) }
  return { mediaType: 'x/y', digest: digestOf(Buffer.from(platform)), size: 1, platform: about }
}

const all = ['linux/amd64', 'linux/arm64/v8', 'linux/arm/v7', 'linux/s390x', 'unknown/unknown'].map(listed)
const namesOf = (manifests: readonly ListedManifest[]) => manifests.map(platformOf)

for (const [written, name] of [
  ['linux/arm64/v8', 'linux/arm64'],
  ['linux/arm64', 'linux/arm64'],
  ['linux/amd64/v1', 'linux/amd64'],
  ['linux/amd64/v3', 'linux/amd64/v3'],
  ['linux/arm', 'linux/arm/v7'],
  ['unknown/unknown', undefined],
] as const) {
  test(`${written} is the platform ${name}`, () => assert.equal(platformOf(listed(written)), name))
}

test('a descriptor without a platform is of none', () => {
  const { platform: _, ...bare } = listed('linux/amd64')
  assert.equal(platformOf(bare), undefined)
})

test('before anybody has asked for one nothing is likely', () => {
  assert.deepEqual(new SeenPlatforms().likely('a', all, 2), [])
})

test("a client's own platforms come before the network's, its last two of them", () => {
  const seen = new SeenPlatforms()
  seen.asked('a', 'linux/arm64')
  for (const platform of ['linux/amd64', 'linux/s390x', 'linux/arm/v7', 'linux/s390x'])
    seen.asked('b', platform)
  assert.deepEqual(namesOf(seen.likely('a', all, 2)), ['linux/arm64'])
  assert.deepEqual(namesOf(seen.likely('b', all, 2)), ['linux/arm/v7', 'linux/s390x'])
})

test('of a new client the network tells, unless it has too many kinds of machines', () => {
  const seen = new SeenPlatforms()
  seen.asked('a', 'linux/arm64')
  assert.deepEqual(namesOf(seen.likely('new', all, 1)), ['linux/arm64'])
  seen.asked('b', 'linux/amd64')
  assert.deepEqual(namesOf(seen.likely('new', all, 2)), ['linux/arm64', 'linux/amd64'])
  assert.deepEqual(seen.likely('new', all, 1), [])
  // What an index does not have is no choice.
  assert.deepEqual(namesOf(seen.likely('new', all.slice(0, 1), 1)), ['linux/amd64'])
})

test('where a platform has two manifests, as versions of Windows have, neither is taken', () => {
  const seen = new SeenPlatforms()
  seen.asked('a', 'windows/amd64')
  const two = ['windows/amd64', 'windows/amd64'].map(listed)
  assert.deepEqual(seen.likely('a', [...two, ...all], 2), [])
})
