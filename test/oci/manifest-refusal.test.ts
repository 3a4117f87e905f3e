import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../src/oci/digest.ts'
import { RegistryError } from '../../src/oci/error.ts'
import { maximumManifestBytes, parseManifest } from '../../src/oci/manifest.ts'
import { isIndexMediaType, manifestMediaTypes } from '../../src/oci/media-type.ts'

const { ociManifest, ociIndex, dockerManifest, dockerManifestList, dockerSchema1 } = manifestMediaTypes

const bytesOf = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
const digest = (name: string) => digestOf(Buffer.from(name))
const descriptor = (name: string) => ({ mediaType: 'a/b', digest: digest(name), size: name.length })

const image = {
  schemaVersion: 2,
  config: descriptor('config'),
  layers: [descriptor('one'), descriptor('two')],
}
const index = { schemaVersion: 2, manifests: [descriptor('amd64')] }
const schema1 = { schemaVersion: 1, fsLayers: [{ blobSum: digest('one') }, { blobSum: digest('two') }] }

function refused(value: unknown, contentType?: string, status = 400) {
  const bytes = value instanceof Uint8Array ? value : bytesOf(value)
  assert.throws(() => parseManifest(bytes, contentType), {
    name: 'RegistryError',
    code: 'MANIFEST_INVALID',
    status,
  })
}

const refusals: Record<string, readonly [body: unknown, contentType: string | undefined]> = {
  'a Content-Type and a body that disagree': [{ ...image, mediaType: dockerManifest }, ociManifest],
  'an index that says it is an image': [{ ...index, mediaType: ociManifest }, undefined],
  'an index sent as an image': [index, ociManifest],
  'an image sent as an index': [image, dockerManifestList],
  'an image sent as schema 1': [image, dockerSchema1],
  'schema 1 sent as an image': [schema1, ociManifest],
  'manifests and layers': [{ manifests: [], layers: [] }, ociIndex],
  'manifests and config': [{ ...index, config: image.config }, undefined],
  'manifests and layers under an unknown type': [{ ...index, ...image, mediaType: 'a/b' }, undefined],
  'layers and fsLayers': [{ ...image, ...schema1 }, undefined],
  'nothing to tell the type by': [{}, undefined],
  'nothing to tell the type by but an unknown one': [{}, 'application/vnd.example+json'],
  'a mediaType that would split a header': [{ ...image, mediaType: 'a/b\r\nX-Evil: 1' }, undefined],
  'a mediaType of lone surrogates': ['{"mediaType":"\\ud800/\\udfff","layers":[]}', undefined],
  'a mediaType that is a number': [{ ...image, mediaType: 1 }, ociManifest],
  'layers that are an object': [{ layers: { 0: descriptor('one') } }, ociManifest],
  'a layer that is null': [{ layers: [null] }, ociManifest],
  'a config that is false': [{ config: false }, ociManifest],
  'a config that is an array': [{ config: [] }, ociManifest],
  'a subject with an invalid digest': [
    { ...image, subject: { ...descriptor('subject'), digest: 'sha256:../../x' } },
    ociManifest,
  ],
  'schema 1 with an invalid digest': [{ fsLayers: [{ blobSum: 'sha256:../../x' }] }, dockerSchema1],
  'schema 1 with a layer that is null': [{ fsLayers: [null] }, dockerSchema1],
  'nothing at all': ['', ociManifest],
  'an array': ['[]', ociManifest],
  null: ['null', ociManifest],
  'a string': ['"x"', ociManifest],
  'half a document': ['{"layers":[', ociManifest],
  'two documents': ['{"layers":[]}{"layers":[]}', ociManifest],
  'a byte order mark': ['\ufeff{"layers":[]}', ociManifest],
  'Latin-1': [Buffer.from('{"layers":[],"a":"\xe9"}', 'latin1'), ociManifest],
  'UTF-16': [Buffer.from('{"layers":[]}', 'utf16le'), ociManifest],
}
for (const [what, [body, contentType]] of Object.entries(refusals)) {
  test(`refused: ${what}`, () => refused(body, contentType))
}

for (const size of ['-1', '1.5', '1e309', '-1e309', '9007199254740992', '"5"', 'null', 'true', '[]']) {
  test(`refused: a size of ${size}`, () => {
    const layer = (text: string) => `{"layers":[{"digest":"${digest('one')}","size":${text}}]}`
    refused(layer(size), ociManifest)
    assert.equal(parseManifest(bytesOf(layer('9007199254740991')), ociManifest).blobs[0]?.size, 2 ** 53 - 1)
  })
}

for (const wrong of [
  '',
  'sha256:',
  'sha256:../../x',
  digest('x').toUpperCase(),
  `${digest('x')}\n`,
  5,
  null,
  undefined,
]) {
  test(`refused: the digest ${JSON.stringify(wrong)?.slice(0, 20)}`, () => {
    for (const key of ['layers', 'manifests']) refused({ [key]: [{ ...descriptor('one'), digest: wrong }] })
    refused({ config: { ...descriptor('one'), digest: wrong } })
  })
}

test('4 MiB are accepted, one byte more is 413', () => {
  const bytes = Buffer.alloc(maximumManifestBytes + 1, ' ')
  bytes.write('{"layers":[]}')
  assert.equal(maximumManifestBytes, 4_194_304)
  assert.equal(parseManifest(bytes.subarray(0, -1), ociManifest).mediaType, ociManifest)
  refused(bytes, ociManifest, 413)
})

test('64 levels are accepted, 65 are not, and brackets inside of strings are no levels', () => {
  const nested = (levels: number, open = '[', close = ']') =>
    `{"layers":[],"a":${open.repeat(levels - 1)}1${close.repeat(levels - 1)}}`
  const text = JSON.stringify({ layers: [], a: `\\"${'{['.repeat(100)}` })
  assert.equal(parseManifest(bytesOf(text), ociManifest).mediaType, ociManifest)
  for (const [open, close] of [['[', ']'] as const, ['{"a":', '}'] as const]) {
    assert.equal(parseManifest(bytesOf(nested(64, open, close)), ociManifest).mediaType, ociManifest)
    refused(nested(65, open, close), ociManifest)
    refused(nested(1e5, open, close), ociManifest)
  }
  refused(`${']'.repeat(100)}${'['.repeat(1e5)}`, ociManifest)
})

test('keys that mean something to JavaScript, twice or not, change nothing', () => {
  const traps = `"__proto__":{"polluted":1,"layers":[]},"constructor":{"prototype":{"polluted":1}},"\\ud800":"\\udfff"`
  const parsed = parseManifest(bytesOf(`{${traps},"layers":[1],"layers":[],${traps}}`), ociManifest)
  assert.deepEqual(parsed.blobs, [])
  assert.equal(({} as { polluted?: unknown }).polluted, undefined)
  refused(`{${traps}}`)
})

test('any bytes are either refused with a RegistryError or are an index or an image, never both', () => {
  const value = fc.oneof(
    fc.jsonValue(),
    fc.constant([]),
    fc.constant([descriptor('a')]),
    fc.constant(descriptor('a')),
  )
  const keys = ['mediaType', 'manifests', 'layers', 'config', 'fsLayers', 'subject', '__proto__']
  const nearly = fc.dictionary(fc.constantFrom(...keys), value).map((body) => bytesOf(body))
  const contentType = fc.constantFrom(undefined, 'text/plain', ...Object.values(manifestMediaTypes))
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), nearly), contentType, (bytes, type) => {
      try {
        const { mediaType, manifests, blobs } = parseManifest(bytes, type)
        assert.match(mediaType, /^[!-~]+\/[!-~]+$/)
        assert.ok(manifests.length === 0 || blobs.length === 0)
        if (isIndexMediaType(mediaType)) assert.equal(blobs.length, 0)
      } catch (error) {
        assert.ok(error instanceof RegistryError && error.code === 'MANIFEST_INVALID', String(error))
      }
    }),
    { numRuns: 2000 },
  )
})

test('hostile bytes are refused at once', () => {
  for (const text of ['[', '{"a":', '"', '\\', '\\"', ']', '{}', ' ', '-', 'a_', '1', '"":']) {
    const bytes = bytesOf(`{"a":${text.repeat(1e5)}`)
    const before = process.threadCpuUsage()
    refused(bytes, ociManifest)
    assert.ok(process.threadCpuUsage(before).user < 50_000, `slow on ${text}`)
  }
})
