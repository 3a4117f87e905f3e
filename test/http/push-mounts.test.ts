/**
 * Mounts. Thought of: from a local repository, from a mirrored one by each of its names, from itself, from nowhere, from a
 * name that is none; of what is here and of what is not, of what is public and of what was only pushed elsewhere; with a
 * digest at once; what is refused, and that nobody is asked for it; a mount of what is there already.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { blobOf, buildImage, pseudoRandomBytes, type TestBlob } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { pushBlob, send, withDigest } from '../support/push.ts'

const parts = new AsyncDisposableStack()
const image = buildImage({ layers: [5000], seed: 'mounts' })
const [layer] = image.layers as [TestBlob]
let hub: DockerHub
let mirror: TestMirror

before(async () => {
  hub = parts.use(await startDockerHub())
  hub.addImage('library/alpine', '3', image)
  mirror = parts.use(await startMirror({ upstream: hub.url, config: { 'cache.negative': '0s' } }))
})
after(() => parts.disposeAsync())

function at(name: string): string {
  return `${mirror.url}/v2/${name}`
}

function mount(to: string, query: string, body: Uint8Array = new Uint8Array()) {
  return send('POST', `${at(to)}/blobs/uploads/?${query}`, { body })
}

/** What a mount of a digest is answered with, whatever the repository; the id of an upload is another each time. */
async function answered(to: string, query: string) {
  const { status, text, headers } = await mount(to, query)
  const { location = '', range, date: _, 'docker-upload-uuid': id, ...others } = headers
  return [status, text, range, location.replace(String(id), '<id>'), others]
}

test('what is mounted from another repository needs no upload, and is there for good', async () => {
  const blob = blobOf(pseudoRandomBytes(1000, 'mounted'))
  await pushBlob(at('mount-from'), blob)
  assert.equal((await send('HEAD', `${at('mount-to')}/blobs/${blob.digest}`)).status, 404)
  for (const to of ['mount-to', 'mount-to', 'mount-from']) {
    const mounted = await mount(to, `mount=${blob.digest}&from=mount-from`)
    assert.deepEqual(
      [mounted.status, mounted.headers.location, mounted.headers['docker-content-digest']],
      [201, `/v2/${to}/blobs/${blob.digest}`, blob.digest],
    )
    assert.equal((await pull(`${at(to)}/blobs/${blob.digest}`)).digest, blob.digest)
  }
})

test('without from: what a repository has that may be read, and what anyone may have', async () => {
  const blob = blobOf(pseudoRandomBytes(1000, 'anywhere'))
  await pushBlob(at('local/somewhere'), blob)
  assert.equal((await mount('anonymous', `mount=${blob.digest}`)).status, 201)
  assert.equal((await pull(`${at('anonymous')}/blobs/${blob.digest}`)).digest, blob.digest)
  const nowhere = digestOf(pseudoRandomBytes(1000, 'nowhere'))
  assert.equal((await mount('anonymous', `mount=${nowhere}`)).status, 202)
})

test('from a mirrored repository, by each of its names: what is here, without a question to anybody', async () => {
  const froms = ['library/alpine', 'alpine', 'docker.io/library/alpine', 'docker.io/alpine']
  hub.reset()
  for (const from of [...froms, undefined]) {
    const query = from === undefined ? '' : `&from=${encodeURIComponent(from)}`
    assert.equal(
      (await mount('from-hub', `mount=${layer.digest}${query}`)).status,
      202,
      `${from}: not here yet`,
    )
  }
  assert.equal(hub.count(), 0)
  await pull(`${at('library/alpine')}/manifests/3`)
  assert.equal((await pull(`${at('library/alpine')}/blobs/${layer.digest}`)).digest, layer.digest)
  hub.reset()
  for (const [n, from] of [...froms, undefined].entries()) {
    const query = from === undefined ? '' : `&from=${encodeURIComponent(from)}`
    assert.equal((await mount(`from-hub-${n}`, `mount=${layer.digest}${query}`)).status, 201, `${from}`)
  }
  assert.equal((await pull(`${at('from-hub-0')}/blobs/${layer.digest}`)).digest, layer.digest)
  assert.equal(hub.count(), 0)
})

test('a mount that is refused is refused alike, whether the bytes are here or nowhere', async () => {
  const pushed = blobOf(pseudoRandomBytes(1000, 'pushed elsewhere'))
  await pushBlob(at('elsewhere'), pushed)
  hub.reset()
  const nowhere = digestOf(pseudoRandomBytes(1000, 'nowhere'))
  for (const from of [
    'mount-other',
    'library/alpine',
    'owner/unknown',
    'ghcr.io/owner/x',
    'Not%20a%20name',
    '',
  ]) {
    const [here, absent] = [
      await answered('refused', `mount=${pushed.digest}&from=${from}`),
      await answered('refused', `mount=${nowhere}&from=${from}`),
    ]
    assert.deepEqual(here, absent, from)
    assert.equal(here[0], 202, from)
  }
  assert.equal((await mount('refused', 'mount=no-digest&from=elsewhere')).status, 202)
  assert.equal((await send('HEAD', `${at('refused')}/blobs/${pushed.digest}`)).status, 404)
  assert.equal(hub.count(), 0)
})

test('the session that a refused mount is answered with takes the blob', async () => {
  const blob = blobOf(pseudoRandomBytes(1000, 'falls back'))
  const { status, headers } = await mount('fallback', `mount=${blob.digest}&from=mount-other`)
  assert.equal(status, 202)
  const put = withDigest(new URL(headers.location ?? '', mirror.url).href, blob.digest)
  assert.equal((await send('PUT', put, { body: blob.bytes })).status, 201)
})

test('a mount with a digest at once: what is there needs no body, and a body is looked at', async () => {
  const blob = blobOf(pseudoRandomBytes(1000, 'at once'))
  const query = (digest: string) => `mount=${blob.digest}&from=mount-from&digest=${digest}`
  assert.equal((await mount('at-once', query(blob.digest), blob.bytes)).status, 201)
  const wrong = await mount('at-once', query(digestOf(pseudoRandomBytes(10, 'wrong'))), blob.bytes)
  assert.deepEqual([wrong.status, wrong.code], [400, 'DIGEST_INVALID'])
})
