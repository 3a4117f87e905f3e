import assert from 'node:assert/strict'
import { test } from 'node:test'
import { signedPayload } from '../../src/oci/signed-manifest.ts'
import { signedManifest } from '../support/signed-manifest.ts'

const coded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const tail = Buffer.from('\n}').toString('base64url')

test('the payload of a signed manifest is what was there before it was signed', () => {
  const { payload, bytes } = signedManifest({ name: 'team/bücher' })
  assert.deepEqual(Buffer.from(signedPayload(bytes) ?? []), payload)
})

for (const [what, text] of [
  ['an image', '{"schemaVersion":2,"config":{},"layers":[],"signatures":[{}]}'],
  ['an unsigned one', '{"schemaVersion":1,"fsLayers":[]}'],
  ['one with no signatures left', '{"schemaVersion":1,"fsLayers":[],"signatures":[]}'],
  ['one whose signatures are none', '{"schemaVersion":1,"fsLayers":[],"signatures":{}}'],
] as const) {
  test(`${what} has no payload of its own`, () => assert.equal(signedPayload(Buffer.from(text)), undefined))
}

for (const [what, protectedHeader] of [
  ['absent', null],
  ['a number', 5],
  ['no base64', '***'],
  ['not JSON', 'AAAA'],
  ['no object', coded([])],
  ['empty', coded({})],
  ['without a tail', coded({ formatLength: 10 })],
  ['with a length that is none', coded({ formatLength: '10', formatTail: tail })],
  ['with a negative length', coded({ formatLength: -1, formatTail: tail })],
  ['with a broken length', coded({ formatLength: 1.5, formatTail: tail })],
  ['with a length beyond the end', coded({ formatLength: 1e9, formatTail: tail })],
  ['with a length of nothing', coded({ formatLength: 0, formatTail: tail })],
  ['with a cut in the middle', coded({ formatLength: 20, formatTail: tail })],
  ['with a tail that is no text', coded({ formatLength: 10, formatTail: {} })],
] as const) {
  test(`a protected header that is ${what} makes the manifest malformed`, () => {
    const { bytes } = signedManifest({ protectedHeader })
    assert.throws(() => signedPayload(bytes), { name: 'RegistryError', code: 'MANIFEST_INVALID' })
  })
}

test('what stands beside the signatures without being signed makes it malformed', () => {
  const { bytes } = signedManifest({ inserted: `"fsLayers":[{"blobSum":"sha256:${'b'.repeat(64)}"}],` })
  assert.throws(() => signedPayload(bytes), /more in it/)
})

test('two signatures of different contents make it malformed', () => {
  const { bytes } = signedManifest()
  const two = bytes
    .toString()
    .replace(
      /"signatures": \[(.*)\]/s,
      (_, one) =>
        `"signatures": [${one},${JSON.stringify({ protected: coded({ formatLength: 1, formatTail: tail }) })}]`,
    )
  assert.throws(() => signedPayload(Buffer.from(two)), /different contents/)
})

test('thousands of signatures that each claim the whole manifest cost no memory: it is malformed', () => {
  const { bytes } = signedManifest({ name: 'team/app' })
  const document = JSON.parse(bytes.toString())
  const signatures = Array.from({ length: 30_000 }, () => document.signatures[0])
  const many = Buffer.from(JSON.stringify({ ...document, signatures }))
  const before = process.memoryUsage().rss
  assert.throws(() => signedPayload(many), /more than 16 signatures/)
  assert.ok(process.memoryUsage().rss - before < 200_000_000)
})

test('signatures of the same content are all right', () => {
  const { bytes, payload } = signedManifest({ name: 'team/app' })
  const text = bytes.toString()
  const [signature] = JSON.parse(text).signatures
  const start = text.indexOf('"signatures"')
  const twice = `${text.slice(0, start)}"signatures":${JSON.stringify([signature, signature])}}`
  assert.deepEqual(Buffer.from(signedPayload(Buffer.from(twice)) ?? []), payload)
})
