/**
 * Pushing over real sockets. Thought of: a blob in one piece, in many, streamed without a length, with the last piece in
 * the PUT, in the POST alone; pieces at the right place, behind it and before it, longer and shorter than they say;
 * the state of an upload; two who write to one; one that leaves and comes back; a wrong digest, another algorithm, none;
 * uploads of another repository, unknown ones, finished ones. Manifests, names, and who may push: in the files beside.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { blobOf, buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { beginUpload, pushImage, send, withDigest } from '../support/push.ts'
import { until } from '../support/settle.ts'
import { connected } from './request-log-fixture.ts'

const parts = new AsyncDisposableStack()
const mebibyte = 1024 * 1024
let hub: DockerHub
let mirror: TestMirror

before(async () => {
  hub = parts.use(await startDockerHub())
  mirror = parts.use(await startMirror({ upstream: hub.url, config: { 'cache.negative': '0s' } }))
})
after(() => parts.disposeAsync())

/** The URL of a repository. */
function at(name: string, by: TestMirror = mirror): string {
  return `${by.url}/v2/${name}`
}

async function stateOf(upload: string) {
  const { status, headers } = await send('GET', upload)
  return [status, headers.range]
}

test('an image is pushed, and pulled again by tag and by digest, without a question to anybody', async () => {
  const image = buildImage({ layers: [pseudoRandomBytes(3 * mebibyte, 'pushed'), 1000], seed: 'pushed' })
  hub.reset()
  await pushImage(at('app'), 'v1', image)
  for (const reference of ['v1', image.manifest.digest]) {
    for (const method of ['GET', 'HEAD']) {
      const url = `${at('app')}/manifests/${reference}`
      const { status, headers, digest } = await pull(url, { method })
      assert.equal(status, 200)
      assert.equal(headers['docker-content-digest'], image.manifest.digest)
      assert.equal(headers['content-type'], image.manifest.mediaType)
      assert.equal(headers['content-length'], String(image.manifest.size))
      if (method === 'GET') assert.equal(digest, image.manifest.digest)
    }
  }
  for (const blob of [image.config, ...image.layers]) {
    const pulled = await pull(`${at('app')}/blobs/${blob.digest}`)
    assert.deepEqual(
      [pulled.status, pulled.digest, pulled.headers['x-larder-cache']],
      [200, blob.digest, 'hit'],
    )
    const head = await pull(`${at('app')}/blobs/${blob.digest}`, { method: 'HEAD' })
    assert.deepEqual([head.status, head.headers['content-length']], [200, String(blob.size)])
  }
  assert.deepEqual(JSON.parse((await pull(`${at('app')}/tags/list`)).text), { name: 'app', tags: ['v1'] })
  assert.equal(hub.count(), 0)
})

test('the answers of a session are those of the specification', async () => {
  const blob = blobOf(pseudoRandomBytes(1000, 'session'))
  const begun = await send('POST', `${at('session')}/blobs/uploads/`)
  const path = begun.headers.location ?? ''
  assert.equal(begun.status, 202)
  assert.match(path, /^\/v2\/session\/blobs\/uploads\/[\w-]+$/)
  assert.equal(begun.headers.range, '0-0')
  assert.ok(path.endsWith(String(begun.headers['docker-upload-uuid'])))
  assert.equal(begun.headers['docker-distribution-api-version'], 'registry/2.0')
  const url = new URL(path, mirror.url)
  const first = await send('PATCH', url, { body: blob.bytes.subarray(0, 400) })
  assert.deepEqual([first.status, first.headers.range, first.headers.location], [202, '0-399', path])
  assert.deepEqual(await stateOf(url.href), [204, '0-399'])
  const second = await send('PATCH', url, {
    body: blob.bytes.subarray(400, 900),
    headers: { 'content-range': '400-899', 'content-type': 'application/octet-stream' },
  })
  assert.deepEqual([second.status, second.headers.range], [202, '0-899'])
  const put = await send('PUT', withDigest(url.href, blob.digest), {
    body: blob.bytes.subarray(900),
    headers: { 'content-range': '900-999' },
  })
  assert.equal(put.status, 201, put.text)
  assert.equal(put.headers.location, `/v2/session/blobs/${blob.digest}`)
  assert.equal((await pull(new URL(put.headers.location, mirror.url).href)).digest, blob.digest)
  const gone = await send('GET', url)
  assert.deepEqual([gone.status, gone.code], [404, 'BLOB_UPLOAD_UNKNOWN'])
})

test('a piece that goes elsewhere is refused with 416, and the upload goes on where it was', async () => {
  const blob = blobOf(pseudoRandomBytes(1000, 'order'))
  const url = await beginUpload(at('order'))
  const piece = (start: number, end: number) =>
    send('PATCH', url, {
      body: blob.bytes.subarray(start, end),
      headers: { 'content-range': `${start}-${end - 1}` },
    })
  assert.equal((await piece(500, 1000)).status, 416)
  assert.equal((await piece(0, 500)).status, 202)
  for (const [start, end] of [
    [0, 500],
    [499, 1000],
    [501, 1000],
  ] as const) {
    const { status, code, message } = await piece(start, end)
    assert.deepEqual([status, code], [416, 'BLOB_UPLOAD_INVALID'])
    assert.match(message ?? '', /has 500 bytes/)
    assert.deepEqual(await stateOf(url), [204, '0-499'])
  }
  const early = await send('PUT', withDigest(url, blob.digest), {
    body: blob.bytes.subarray(600),
    headers: { 'content-range': '600-999' },
  })
  assert.equal(early.status, 416)
  assert.equal((await piece(500, 1000)).status, 202)
  assert.equal((await send('PUT', withDigest(url, blob.digest))).status, 201)
})

test('a body that is longer or shorter than Content-Range says is refused', async () => {
  const blob = blobOf(pseudoRandomBytes(1000, 'length'))
  const url = await beginUpload(at('length'))
  const patch = (body: Uint8Array | Uint8Array[], range: string) =>
    send('PATCH', url, { body, headers: { 'content-range': range } })
  const told = await patch(blob.bytes.subarray(0, 500), '0-399')
  assert.deepEqual([told.status, told.code], [400, 'SIZE_INVALID'])
  assert.deepEqual(await stateOf(url), [204, '0-0'])
  for (const range of ['0', 'x-y', '5-4', '-5', '0-1,2-3', '9'.repeat(30)]) {
    assert.equal((await patch(blob.bytes, range)).status, 400, range)
  }
  const long = await patch([blob.bytes.subarray(0, 450), blob.bytes.subarray(450, 500)], '0-399')
  assert.deepEqual([long.status, long.code], [400, 'SIZE_INVALID'])
  assert.deepEqual(await stateOf(url), [204, '0-399'], 'what was within it is here')
  const short = await patch([blob.bytes.subarray(400, 600)], '400-999')
  assert.deepEqual([short.status, short.code], [400, 'SIZE_INVALID'])
  assert.equal((await patch([blob.bytes.subarray(600)], '600-999')).status, 202)
  assert.equal((await send('PUT', withDigest(url, blob.digest))).status, 201)
})

test('a blob in the PUT alone, in the POST alone, of no bytes, and under sha512', async () => {
  const repository = at('ways')
  const bytes = pseudoRandomBytes(100_000, 'ways')
  const put = async (digest: string, body: Uint8Array) =>
    send('PUT', withDigest(await beginUpload(repository), digest), { body })
  assert.equal((await put(digestOf(bytes), bytes)).status, 201)
  const other = pseudoRandomBytes(1000, 'post')
  const posted = await send('POST', withDigest(`${repository}/blobs/uploads/`, digestOf(other)), {
    body: other,
  })
  assert.deepEqual([posted.status, posted.headers.location], [201, `/v2/ways/blobs/${digestOf(other)}`])
  const nothing = new Uint8Array()
  assert.equal((await put(digestOf(nothing), nothing)).status, 201)
  const sha512 = digestOf(bytes, 'sha512')
  const url = await beginUpload(repository)
  assert.equal((await send('PATCH', url, { body: bytes })).status, 202)
  assert.equal((await send('PUT', withDigest(url, sha512))).status, 201)
  for (const [digest, size] of [
    [digestOf(bytes), bytes.length],
    [digestOf(other), other.length],
    [digestOf(nothing), 0],
    [sha512, bytes.length],
  ] as const) {
    const { status, received } = await pull(`${repository}/blobs/${digest}`)
    assert.deepEqual([status, received], [200, size], digest)
  }
})

test('an upload is cancelled, as podman does after a mount that was refused', async () => {
  const url = await beginUpload(at('cancel'))
  await send('PATCH', url, { body: pseudoRandomBytes(1000, 'cancel') })
  assert.equal((await send('DELETE', url)).status, 204)
  assert.deepEqual(await stateOf(url), [404, undefined])
  const again = await send('DELETE', url)
  assert.deepEqual([again.status, again.code], [404, 'BLOB_UPLOAD_UNKNOWN'])
})

test('a body that is packed on its way is refused, and the upload goes on', async () => {
  const upload = await beginUpload(at('packed'))
  const blob = blobOf(pseudoRandomBytes(1000, 'packed'))
  for (const [method, url] of [
    ['PATCH', upload],
    ['PUT', withDigest(upload, blob.digest)],
    ['POST', withDigest(`${at('packed')}/blobs/uploads/`, blob.digest)],
    ['PUT', `${at('packed')}/manifests/v1`],
  ] as const) {
    const { status, code } = await send(method, url, {
      body: blob.bytes,
      headers: { 'content-encoding': 'gzip' },
    })
    assert.deepEqual([status, code], [415, 'UNSUPPORTED'], `${method} ${url}`)
  }
  const headers = { 'content-encoding': 'identity' }
  assert.equal(
    (await send('PUT', withDigest(upload, blob.digest), { body: blob.bytes, headers })).status,
    201,
  )
})

test('a wrong digest: refused, nothing of it is kept, and what is no digest ends nothing', async () => {
  const repository = at('wrong')
  const bytes = pseudoRandomBytes(5000, 'wrong')
  const wrong = digestOf(pseudoRandomBytes(5000, 'other'))
  const url = await beginUpload(repository)
  await send('PATCH', url, { body: bytes })
  for (const ending of ['', '?digest=', '?digest=sha256:abc', '?digest=md5:123']) {
    const { status, code } = await send('PUT', url + ending)
    assert.deepEqual([status, code], [400, 'DIGEST_INVALID'], ending)
    assert.deepEqual(await stateOf(url), [204, '0-4999'])
  }
  for (const digest of [wrong, digestOf(bytes.subarray(0, 4999))]) {
    const again = await beginUpload(repository)
    await send('PATCH', again, { body: bytes })
    const { status, code } = await send('PUT', withDigest(again, digest))
    assert.deepEqual([status, code], [400, 'DIGEST_INVALID'])
    assert.equal((await pull(`${repository}/blobs/${digest}`, { method: 'HEAD' })).status, 404)
    assert.equal((await send('GET', again)).status, 404)
  }
  assert.equal((await send('PUT', withDigest(url, digestOf(bytes)))).status, 201)
})

test('an upload belongs to its repository, and one that never was is unknown', async () => {
  const url = await beginUpload(at('mine'))
  const id = url.slice(url.lastIndexOf('/') + 1)
  for (const other of [`${at('yours')}/blobs/uploads/${id}`, `${at('mine')}/blobs/uploads/upload-1`]) {
    for (const method of ['GET', 'PATCH', 'PUT']) {
      const answer = await send(
        method,
        method === 'PUT' ? withDigest(other, digestOf(new Uint8Array())) : other,
      )
      assert.deepEqual([answer.status, answer.code], [404, 'BLOB_UPLOAD_UNKNOWN'], method)
    }
  }
  assert.deepEqual(await stateOf(url), [204, '0-0'])
})

test('two who write to one upload: the second is refused, and the blob of the first is whole', async () => {
  const blob = blobOf(pseudoRandomBytes(mebibyte, 'two'))
  const url = await beginUpload(at('two'))
  const more = Promise.withResolvers<void>()
  async function* slowly() {
    yield blob.bytes.subarray(0, 300_000)
    await more.promise
    yield blob.bytes.subarray(300_000)
  }
  const first = send('PATCH', url, { body: slowly() })
  await until(async () => (await stateOf(url))[1] === '0-299999')
  for (const [method, address] of [
    ['PATCH', url],
    ['PUT', withDigest(url, blob.digest)],
  ] as const) {
    const second = await send(method, address, { body: pseudoRandomBytes(1000, 'intruder') })
    assert.deepEqual([second.status, second.code], [416, 'BLOB_UPLOAD_INVALID'])
  }
  more.resolve()
  assert.equal((await first).status, 202)
  assert.equal((await send('PUT', withDigest(url, blob.digest))).status, 201)
})

test('a client that leaves in the middle comes back, asks how much is here, and sends the rest', async () => {
  const blob = blobOf(pseudoRandomBytes(mebibyte, 'back'))
  const url = await beginUpload(at('back'))
  const socket = await connected(mirror.port)
  const { pathname } = new URL(url)
  socket.write(`PATCH ${pathname} HTTP/1.1\r\nHost: a\r\nContent-Length: ${blob.size}\r\n\r\n`)
  socket.write(blob.bytes.subarray(0, 400_000))
  await until(async () => (await stateOf(url))[1] === '0-399999')
  socket.resetAndDestroy()
  const rest = { body: blob.bytes.subarray(400_000), headers: { 'content-range': `400000-${blob.size - 1}` } }
  await until(() =>
    mirror.events('request').some(({ method, ended }) => method === 'PATCH' && ended === 'left'),
  )
  assert.equal((await send('PATCH', url, rest)).status, 202)
  assert.equal((await send('PUT', withDigest(url, blob.digest))).status, 201)
  const left = mirror.events('request').find(({ method, ended }) => method === 'PATCH' && ended === 'left')
  assert.deepEqual([left?.level, left?.received], ['info', 400_000])
})
