import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../src/oci/digest.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { parseManifest, parseTagList } from '../../src/oci/manifest.ts'
import { manifestMediaTypes } from '../../src/oci/media-type.ts'

const { ociManifest, ociIndex, dockerManifest, dockerManifestList, dockerSchema1, dockerSchema1Signed } =
  manifestMediaTypes
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip'

const bytesOf = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
const digest = (name: string) => digestOf(Buffer.from(name))
const descriptor = (name: string, size: number = name.length, mediaType: string = layerType) => ({
  mediaType,
  digest: digest(name),
  size,
})

const image = {
  schemaVersion: 2,
  config: descriptor('config'),
  layers: [descriptor('one'), descriptor('two')],
}
const platform = { os: 'linux', architecture: 'arm64', variant: 'v8' }
const index = { schemaVersion: 2, manifests: [{ ...descriptor('amd64', 7, ociManifest), platform }] }
const schema1 = { schemaVersion: 1, fsLayers: [{ blobSum: digest('one') }, { blobSum: digest('two') }] }

test('an image manifest has its config first, then its layers in order', () => {
  assert.deepEqual(parseManifest(bytesOf(image), ociManifest), {
    mediaType: ociManifest,
    manifests: [],
    blobs: [descriptor('config'), descriptor('one'), descriptor('two')],
    config: descriptor('config'),
    subject: undefined,
    artifactType: layerType,
  })
})

test('an index has its manifests with their platforms', () => {
  assert.deepEqual(parseManifest(bytesOf(index), ociIndex), {
    mediaType: ociIndex,
    manifests: [{ ...descriptor('amd64', 7, ociManifest), platform }],
    blobs: [],
    config: undefined,
    subject: undefined,
    artifactType: undefined,
  })
})

test('a platform keeps what a manifest is chosen by, and is dropped without it', () => {
  const parse = (value: unknown) =>
    parseManifest(bytesOf({ manifests: [{ ...descriptor('a'), platform: value }] }), undefined).manifests[0]
      ?.platform
  assert.deepEqual(parse({ os: 'windows', architecture: 'amd64', 'os.version': '10' }), {
    os: 'windows',
    architecture: 'amd64',
  })
  for (const value of [undefined, null, 'linux', [], {}, { os: 'linux' }, { os: 1, architecture: 2 }]) {
    assert.equal(parse(value), undefined)
  }
})

test('a subject is read, from an image and from an index', () => {
  const subject = descriptor('subject')
  assert.deepEqual(parseManifest(bytesOf({ ...image, subject }), ociManifest).subject, subject)
  assert.deepEqual(parseManifest(bytesOf({ ...index, subject }), ociIndex).subject, subject)
})

test('what it is to its subject: its own type of artifact, else that of its config', () => {
  const artifactType = 'application/vnd.example.signature'
  for (const body of [
    { ...image, artifactType },
    { ...index, artifactType },
  ]) {
    assert.equal(parseManifest(bytesOf(body), undefined).artifactType, artifactType)
  }
  for (const odd of ['', 'none', 7, null]) {
    assert.equal(parseManifest(bytesOf({ ...image, artifactType: odd }), ociManifest).artifactType, layerType)
  }
})

test('a foreign layer is an ordinary blob without its urls', () => {
  const foreign = { ...descriptor('one'), urls: ['http://127.0.0.1/'], data: 'AA==' }
  const { blobs } = parseManifest(bytesOf({ layers: [foreign] }), dockerManifest)
  assert.deepEqual(blobs, [descriptor('one')])
})

test('a schema 1 manifest has blobs of unknown size', () => {
  const parsed = parseManifest(bytesOf(schema1), dockerSchema1)
  assert.equal(parsed.mediaType, dockerSchema1)
  assert.deepEqual(
    parsed.blobs.map((blob) => [blob.digest, blob.size]),
    [
      [digest('one'), undefined],
      [digest('two'), undefined],
    ],
  )
})

const settled = [
  // body, Content-Type, media type
  [image, `${dockerManifest}; charset=utf-8`, dockerManifest],
  [image, ociManifest.toUpperCase(), ociManifest],
  [{ ...image, mediaType: dockerManifest }, dockerManifest, dockerManifest],
  [{ ...image, mediaType: dockerManifest }, undefined, dockerManifest],
  [{ ...image, mediaType: dockerManifest }, 'application/json', dockerManifest],
  [{ ...image, mediaType: dockerManifest }, 'text/plain; charset=utf-8', dockerManifest],
  [{ ...image, mediaType: dockerManifest }, 'malformed', dockerManifest],
  [{ ...image, mediaType: 'application/vnd.example+json' }, ociManifest, ociManifest],
  [{ ...image, mediaType: 'application/vnd.Example+json' }, undefined, 'application/vnd.example+json'],
  [{ ...image, mediaType: '' }, undefined, ociManifest],
  [{ ...image, mediaType: null }, 'application/octet-stream', ociManifest],
  [{ ...index, mediaType: dockerManifestList }, 'application/json', dockerManifestList],
  [image, undefined, ociManifest],
  [{ layers: [] }, undefined, ociManifest],
  [index, 'application/octet-stream', ociIndex],
  [schema1, 'application/json', dockerSchema1],
  [{ ...schema1, signatures: [] }, undefined, dockerSchema1Signed],
  [{ manifests: null }, ociIndex, ociIndex],
  [{ ...index, layers: null }, undefined, ociIndex],
] as const
for (const [body, contentType, mediaType] of settled) {
  test(`${JSON.stringify(body).slice(-60)} as ${contentType} is ${mediaType}`, () => {
    assert.equal(parseManifest(bytesOf(body), contentType).mediaType, mediaType)
  })
}

test('a descriptor without a valid media type is one of unknown bytes', () => {
  for (const mediaType of [undefined, null, 5, '', 'a/b\r\nX-Evil: 1']) {
    const { blobs } = parseManifest(bytesOf({ layers: [{ ...descriptor('one'), mediaType }] }), ociManifest)
    assert.equal(blobs[0]?.mediaType, 'application/octet-stream')
  }
})

test('every manifest is read back', () => {
  const anyDescriptor = fc.record(
    {
      mediaType: fc.constantFrom(layerType, ociManifest, 'application/octet-stream'),
      digest: fc
        .tuple(fc.uint8Array(), fc.constantFrom('sha256' as const, 'sha512' as const))
        .map((pair) => digestOf(...pair)),
      size: fc.maxSafeNat(),
    },
    { noNullPrototype: true },
  )
  const optional = fc.option(anyDescriptor, { nil: undefined })
  fc.assert(
    fc.property(fc.array(anyDescriptor), optional, optional, (list, config, subject) => {
      const asImage = parseManifest(bytesOf({ config, layers: list, subject }), undefined)
      assert.deepEqual(asImage, {
        mediaType: ociManifest,
        manifests: [],
        blobs: config === undefined ? list : [config, ...list],
        config,
        subject,
        artifactType: config?.mediaType,
      })
      const asIndex = parseManifest(bytesOf({ manifests: list, subject }), dockerManifestList)
      assert.deepEqual(asIndex, {
        mediaType: dockerManifestList,
        manifests: list,
        blobs: [],
        config: undefined,
        subject,
        artifactType: undefined,
      })
    }),
  )
})

test('a tag list keeps what is a tag', () => {
  const parse = (value: unknown) => parseTagList(bytesOf(value)).tags
  assert.deepEqual(parse({ name: 'a', tags: ['1', 'latest'] }), ['1', 'latest'])
  assert.deepEqual(parse({ name: 'a', tags: null }), [])
  assert.deepEqual(parse({ name: 'a', tags: ['1', '../x', 'a:b', '', 5, null, ['x'], 'b\n', '2'] }), [
    '1',
    '2',
  ])
})

test('what is not a tag list is an error of the upstream, never no tags', () => {
  const errors = { errors: [{ code: 'NAME_UNKNOWN' }] }
  for (const value of [
    '',
    'null',
    '[]',
    {},
    errors,
    { tags: [] },
    { name: 'a' },
    { name: 'a', tags: {} },
    { name: 5, tags: [] },
  ]) {
    assert.throws(() => parseTagList(bytesOf(value)), { name: 'RegistryError', code: 'UNKNOWN', status: 502 })
  }
  assert.throws(() => parseTagList(bytesOf('['.repeat(1e5))), RegistryError)
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), fc.json().map(bytesOf)), (bytes) => {
      try {
        parseTagList(bytes)
      } catch (error) {
        assert.ok(error instanceof RegistryError)
      }
    }),
  )
})
