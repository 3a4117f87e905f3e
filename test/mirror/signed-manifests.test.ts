// Neighbours thought of: by tag and by digest, with and without the digest's header, with the type that old registries
// send instead; signatures made anew at each GET; a wrong protected header; another manifest passed off as signed.
import assert from 'node:assert/strict'
import type { RequestListener } from 'node:http'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { pull } from '../support/client.ts'
import { buildImage } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { signedManifest } from '../support/signed-manifest.ts'
import { listen } from '../upstream/fixtures.ts'

const signedType = 'application/vnd.docker.distribution.manifest.v1+prettyjws'
const { payload, bytes } = signedManifest()
const digest = digestOf(payload)

async function start(t: TestContext, headers: Record<string, string>, body: Uint8Array = bytes) {
  const handler: RequestListener = (_request, response) => response.writeHead(200, headers).end(body)
  const upstream = await listen(t, handler)
  const mirror = await startMirror({ upstream: upstream.url })
  t.after(() => mirror[Symbol.asyncDispose]())
  const manifests = `${mirror.url}/v2/team/app/manifests`
  return {
    upstream,
    byTag: () => pull(`${manifests}/1`),
    byDigest: (of = digest) => pull(`${manifests}/${of}`),
  }
}

for (const [what, headers] of [
  ['its digest', { 'content-type': signedType, 'docker-content-digest': digest }],
  ['no digest', { 'content-type': signedType }],
  ['the type of old registries', { 'content-type': 'application/json', 'docker-content-digest': digest }],
] as const) {
  test(`a signed schema 1 manifest with ${what}: its digest is that of the payload, its bytes as they came`, async (t) => {
    const { upstream, byTag, byDigest } = await start(t, headers)
    const tagged = await byTag()
    assert.deepEqual([tagged.status, tagged.headers['docker-content-digest']], [200, digest])
    assert.equal(
      tagged.headers['content-type'],
      headers['content-type'] === signedType ? signedType : tagged.headers['content-type'],
    )
    assert.equal(tagged.digest, digestOf(bytes))
    const before = upstream.requests.length
    assert.deepEqual([(await byDigest()).digest, upstream.requests.length], [tagged.digest, before])
  })
}

test('a signed manifest by digest first', async (t) => {
  const { byDigest } = await start(t, { 'content-type': signedType })
  assert.equal((await byDigest()).status, 200)
  assert.equal((await byDigest(digestOf(Buffer.from('other')))).status, 502)
})

test('a wrong protected header makes it malformed, with a sentence', async (t) => {
  const wrong = signedManifest({ protectedHeader: 'AAAA' }).bytes
  const { byTag } = await start(t, { 'content-type': signedType, 'docker-content-digest': digest }, wrong)
  const { status, text } = await byTag()
  assert.equal(status, 502)
  assert.match(JSON.parse(text).errors[0].message, /malformed: The signed manifest/)
})

test('an image that comes with signatures put in is not the image', async (t) => {
  const { manifest } = buildImage()
  const text = Buffer.from(manifest.bytes).toString()
  const header = { formatLength: text.length - 2, formatTail: Buffer.from('\n}').toString('base64url') }
  const signature = { protected: Buffer.from(JSON.stringify(header)).toString('base64url') }
  const forged = Buffer.from(`${text.slice(0, -2)},"signatures":${JSON.stringify([signature])}\n}`)
  const { byDigest } = await start(t, { 'content-type': signedType }, forged)
  assert.equal((await byDigest(manifest.digest)).status, 502)
})
