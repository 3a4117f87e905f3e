import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { buildImage, buildIndex, generatedBlob, mediaTypes, pseudoRandomBytes } from './images.ts'

test('the same seed gives the same bytes, another seed others', () => {
  assert.deepEqual(pseudoRandomBytes(100_000, 'a'), pseudoRandomBytes(100_000, 'a'))
  assert.deepEqual(pseudoRandomBytes(10, 'a'), pseudoRandomBytes(100, 'a').subarray(0, 10))
  assert.notDeepEqual(pseudoRandomBytes(100, 'a'), pseudoRandomBytes(100, 'b'))
})

test('a generated blob reads the same from any offset, and its digest is right', async () => {
  const blob = await generatedBlob({ size: 1_000_003, seed: 7 })
  const { bytes } = blob
  assert.equal(bytes.length, 1_000_003)
  assert.equal(blob.digest, digestOf(bytes))
  assert.equal((await generatedBlob({ size: 1_000_003, seed: 7 })).digest, blob.digest)
  for (const start of [0, 1, 262_143, 262_144, 600_001, 1_000_002, 1_000_003]) {
    const reader = blob.open(start)
    const hash = createHash('sha256')
    for (let piece = reader.read(99_991); piece.length > 0; piece = reader.read(99_991)) hash.update(piece)
    assert.equal(`sha256:${hash.digest('hex')}`, digestOf(bytes.subarray(start)), `from ${start}`)
  }
})

test('an image refers to its config and layers by digest, size and type', () => {
  for (const family of ['oci', 'docker'] as const) {
    const image = buildImage({ layers: [10, new Uint8Array([1, 2, 3])], seed: 1, mediaTypes: family })
    const document = JSON.parse(Buffer.from(image.manifest.bytes).toString())
    assert.equal(image.manifest.mediaType, mediaTypes[family].manifest)
    assert.equal(document.mediaType, mediaTypes[family].manifest)
    assert.deepEqual(document.config, {
      mediaType: mediaTypes[family].config,
      digest: digestOf(image.config.bytes),
      size: image.config.size,
    })
    assert.deepEqual(
      document.layers.map((layer: { digest: string; size: number }) => [layer.digest, layer.size]),
      image.layers.map((layer) => [digestOf(layer.bytes), layer.bytes.length]),
    )
  }
})

test('an index names the platform of each image', () => {
  const images = [
    buildImage({ seed: 1 }),
    buildImage({ seed: 2, platform: { os: 'linux', architecture: 'arm', variant: 'v7' } }),
  ]
  const index = buildIndex(images, { mediaTypes: 'docker' })
  const document = JSON.parse(Buffer.from(index.manifest.bytes).toString())
  assert.equal(document.mediaType, mediaTypes.docker.index)
  assert.deepEqual(
    document.manifests.map((entry: { platform: unknown }) => entry.platform),
    [
      { os: 'linux', architecture: 'amd64' },
      { os: 'linux', architecture: 'arm', variant: 'v7' },
    ],
  )
})

test('an attestation names its subject', () => {
  const subject = buildImage({ seed: 1 }).manifest
  const artifact = buildImage({ subject, artifactType: 'application/example', annotations: { a: 'b' } })
  const document = JSON.parse(Buffer.from(artifact.manifest.bytes).toString())
  assert.equal(document.subject.digest, subject.digest)
  assert.equal(document.artifactType, 'application/example')
})
