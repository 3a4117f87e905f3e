import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseManifest } from '../../src/oci/manifest.ts'
import { referencesOf } from '../../src/storage/manifest-references.ts'

const digestOf = (letter: string) => `sha256:${letter.repeat(64)}`
const descriptor = (letter: string, size: number) => ({ mediaType: 'x/y', digest: digestOf(letter), size })

test('what a manifest names is kept with its kind and its size', () => {
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const document = {
    schemaVersion: 2,
    mediaType,
    artifactType: 'a/signature',
    config: descriptor('c', 10),
    layers: [descriptor('d', 20)],
    subject: descriptor('e', 30),
  }
  const references = referencesOf(parseManifest(Buffer.from(JSON.stringify(document)), mediaType))
  assert.deepEqual(references, [
    { target: digestOf('c'), kind: 'config', size: 10 },
    { target: digestOf('d'), kind: 'layer', size: 20 },
    { target: digestOf('e'), kind: 'subject', size: 30, artifactType: 'a/signature' },
  ])
})
