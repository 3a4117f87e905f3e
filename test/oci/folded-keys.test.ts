import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseManifest } from '../../src/oci/manifest.ts'
import { parseStrictManifest } from '../../src/oci/strict-manifest.ts'

// Neighbours: the document, a config, a layer, an entry of an index, a subject, a platform; letters that Go folds to
// ASCII; a key that stands alone; keys whose case is theirs to choose.

const digest = `sha256:${'a'.repeat(64)}`
const descriptor = { mediaType: 'application/x', digest, size: 1 }
const image = {
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  config: descriptor,
  layers: [descriptor],
}
const index = {
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.index.v1+json',
  manifests: [descriptor],
}
const platform = { os: 'linux', architecture: 'arm64' }

const read = (document: object) => parseManifest(Buffer.from(JSON.stringify(document)), undefined)
const readStrictly = (document: object) =>
  parseStrictManifest(Buffer.from(JSON.stringify(document)), undefined)

const bothKeys: Readonly<Record<string, object>> = {
  'an index with Manifests': { ...index, Manifests: [] },
  'an image with LAYERS': { ...image, LAYERS: [] },
  'an image with MediaType': { ...image, MediaType: index.mediaType },
  'a config with Digest': { ...image, config: { ...descriptor, Digest: digest } },
  'a layer with a long s in size': { ...image, layers: [descriptor, { ...descriptor, ſize: 2 }] },
  'an entry with uRLs': { ...index, manifests: [{ ...descriptor, urls: [], uRLs: [] }] },
  'a subject with Size': { ...image, subject: { ...descriptor, Size: 2 } },
  'a platform with OS': {
    ...index,
    manifests: [{ ...descriptor, platform: { ...platform, OS: 'windows' } }],
  },
}

for (const [what, document] of Object.entries(bothKeys)) {
  test(`${what} beside the specified one is refused, pushed or not: clients differ in which they take`, () => {
    const refusal = { code: 'MANIFEST_INVALID', status: 400, message: /some clients take for/ }
    assert.throws(() => read(document), refusal)
    assert.throws(() => readStrictly(document), refusal)
  })
}

const alone: Readonly<Record<string, object>> = {
  document: { ...image, ArtifactType: 'application/y' },
  layer: { ...image, layers: [{ ...descriptor, Urls: [] }] },
  platform: { ...index, manifests: [{ ...descriptor, platform: { ...platform, Variant: 'v8' } }] },
}

for (const [where, document] of Object.entries(alone)) {
  test(`a key of a ${where} that only looks like a specified one is not taken when pushed, and read past else`, () => {
    assert.throws(() => readStrictly(document), { message: /has the key "\w+", which some clients take for/ })
    assert.ok(read(document))
  })
}

test('keys that are nobody else’s may differ by case alone', () => {
  const annotations = { Size: '1', size: '2', 'org.example.A': '', 'org.example.a': '' }
  const free = { ...image, annotations, layers: [{ ...descriptor, annotations }], vendor: 1, Vendor: 2 }
  assert.ok(read(free))
  assert.ok(readStrictly(free))
})
