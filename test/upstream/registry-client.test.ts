import assert from 'node:assert/strict'
import type { RequestListener } from 'node:http'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { maximumManifestBytes } from '../../src/oci/manifest.ts'
import type { Tag } from '../../src/oci/reference.ts'
import type { RepositoryName } from '../../src/oci/repository-name.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import type { Fault } from '../support/hub-faults.ts'
import { buildImage, mediaTypes, pseudoRandomBytes } from '../support/images.ts'
import { clientOf, collect, failsWith, listen } from './fixtures.ts'

const repository = 'library/alpine' as RepositoryName
const latest = 'latest' as Tag
const image = buildImage({ layers: [100_000] })
const [layer = assert.fail()] = image.layers
const missing = digestOf(Buffer.from('missing'))
const { signal } = new AbortController()

async function startHub(
  t: TestContext,
  options: Parameters<typeof startDockerHub>[0] = {},
): Promise<DockerHub> {
  const hub = await startDockerHub(options)
  t.after(() => hub.close())
  hub.addImage(repository, 'latest', image)
  return hub
}

test('a manifest comes with its type and the digest that is claimed, by tag and by digest', async (t) => {
  const hub = await startHub(t)
  const client = clientOf(t, hub.url)
  for (const reference of [latest, image.manifest.digest]) {
    const manifest = await client.manifest(repository, reference)
    assert.deepEqual(new Uint8Array(manifest.bytes), image.manifest.bytes)
    assert.equal(manifest.contentType, mediaTypes.oci.manifest)
    assert.equal(manifest.claimedDigest, image.manifest.digest)
  }
})

test('all kinds of manifests are asked for', async (t) => {
  const hub = await startHub(t)
  await clientOf(t, hub.url).manifestDigest(repository, latest)
  const { accept = '' } = hub.requests[0]?.headers ?? {}
  for (const types of Object.values(mediaTypes)) {
    assert.ok(accept.includes(types.manifest) && accept.includes(types.index), accept)
  }
})

test('the digest of a tag takes a HEAD and no GET', async (t) => {
  const hub = await startHub(t)
  assert.equal(await clientOf(t, hub.url).manifestDigest(repository, latest), image.manifest.digest)
  assert.equal(hub.count({ listener: 'registry', method: 'GET' }), 0)
})

for (const claimed of ['sha256:short', '../../etc/passwd', image.manifest.digest.toUpperCase()]) {
  test(`Docker-Content-Digest ${claimed.slice(0, 20)} is no digest`, async (t) => {
    const hub = await startHub(t)
    hub.fault({ path: /manifests/ }, { dockerContentDigest: claimed })
    const client = clientOf(t, hub.url)
    assert.equal(await client.manifestDigest(repository, latest), undefined)
    assert.equal((await client.manifest(repository, latest)).claimedDigest, undefined)
  })
}

for (const [bytes, what] of [
  [maximumManifestBytes, 'of 4 MiB is read'],
  [maximumManifestBytes + 1, 'of more than 4 MiB is invalid'],
] as const) {
  test(`a manifest ${what}`, async (t) => {
    const server = await listen(t, (_request, response) => void response.end(Buffer.alloc(bytes, ' ')))
    const manifest = clientOf(t, server.url).manifest(repository, latest)
    if (bytes > maximumManifestBytes) await failsWith(manifest, 'INVALID_RESPONSE', /more than 4194304 bytes/)
    else assert.equal((await manifest).bytes.length, bytes)
  })
}

test('a manifest without end is invalid', async (t) => {
  const hub = await startHub(t)
  hub.fault({ path: /manifests/ }, { endless: true })
  await failsWith(clientOf(t, hub.url).manifest(repository, latest), 'INVALID_RESPONSE')
  assert.ok(hub.bytesSent() < 24 * 1024 * 1024, `${hub.bytesSent()} bytes`)
})

for (const cdn of [true, false]) {
  test(`a blob ${cdn ? 'behind a redirect' : 'of the registry itself'} comes whole, and from a position on`, async (t) => {
    const hub = await startHub(t, { cdn })
    const client = clientOf(t, hub.url)
    for (const position of [0, 1, 99_999]) {
      const blob = await client.blob(repository, layer.digest, { position, signal })
      assert.deepEqual([blob.start, blob.size], [position, layer.size])
      assert.deepEqual(new Uint8Array(await collect(blob.body())), layer.bytes.subarray(position))
    }
    assert.equal(client.counters.blobBytes, 100_000 + 99_999 + 1)
    assert.ok(hub.find({ listener: 'cdn' }).every(({ headers }) => headers.authorization === undefined))
    const served = hub.find({ listener: cdn ? 'cdn' : 'registry', digest: layer.digest })
    assert.equal(served[0]?.headers.range, undefined)
    assert.equal(served.at(-1)?.headers.range, 'bytes=99999-')
  })
}

test('each part of a blob gets an address of its own: signed ones expire', async (t) => {
  const hub = await startHub(t)
  const client = clientOf(t, hub.url)
  await collect((await client.blob(repository, layer.digest, { position: 0, signal })).body())
  hub.expireUrls()
  const rest = await client.blob(repository, layer.digest, { position: 5, signal })
  assert.equal((await collect(rest.body())).length, 99_995)
})

const answers: readonly [
  what: string,
  fault: Fault,
  position: number,
  start: number,
  size: number | undefined,
][] = [
  ['200 to a range: it starts at 0', { ignoreRange: true }, 500, 0, 100_000],
  ['no Content-Length: the size is unknown', { contentLength: 'none' }, 0, 0, undefined],
  ['a part of which the size is unknown', { contentRange: 'bytes 500-99999/*' }, 500, 500, undefined],
  [
    'a part that starts elsewhere: it says where',
    { contentRange: 'bytes 400-99999/100000' },
    500,
    400,
    100_000,
  ],
  ['a part with another size: it says which', { totalSize: 99 * 1024 * 1024 }, 500, 500, 99 * 1024 * 1024],
]

for (const [what, fault, position, start, size] of answers) {
  test(`a blob may come as ${what}`, async (t) => {
    const hub = await startHub(t)
    hub.fault({ listener: 'cdn' }, fault)
    const blob = await clientOf(t, hub.url).blob(repository, layer.digest, { position, signal })
    blob.discard()
    assert.deepEqual([blob.start, blob.size], [start, size])
  })
}

for (const contentRange of [
  'bytes 5-',
  'bytes */100000',
  'items 0-1/2',
  'bytes 9-5/100000',
  'bytes 0-99/50',
  '',
]) {
  test(`a part of a blob with Content-Range "${contentRange}" is invalid`, async (t) => {
    const hub = await startHub(t)
    hub.fault({ listener: 'cdn' }, { contentRange })
    const blob = clientOf(t, hub.url).blob(repository, layer.digest, { position: 500, signal })
    await failsWith(blob, 'INVALID_RESPONSE', /without telling which/)
  })
}

test('a position beyond the end of a blob is invalid', async (t) => {
  const hub = await startHub(t)
  const blob = clientOf(t, hub.url).blob(repository, layer.digest, { position: layer.size, signal })
  await failsWith(blob, 'INVALID_RESPONSE', /416/)
})

test('the signal of a blob ends its body', async (t) => {
  const hub = await startHub(t)
  hub.fault({ listener: 'cdn' }, { stallAfter: 1000 })
  const controller = new AbortController()
  const blob = await clientOf(t, hub.url).blob(repository, layer.digest, {
    position: 0,
    signal: controller.signal,
  })
  const body = blob.body()
  assert.equal((await body.next()).value?.length, 1000)
  controller.abort(new Error('enough'))
  await assert.rejects(body.next(), /enough/)
})

for (const headBlobs of ['redirect', 'direct'] as const) {
  test(`whether a repository has a blob is known by HEAD, answered ${headBlobs}`, async (t) => {
    const hub = await startHub(t, { headBlobs })
    const client = clientOf(t, hub.url)
    assert.equal(await client.hasBlob(repository, layer.digest), true)
    assert.equal(await client.hasBlob(repository, missing), false)
    assert.equal(await client.blobSize(repository, layer.digest), layer.size)
    assert.equal(hub.count({ listener: 'registry', method: 'GET' }), 0)
    assert.equal(hub.bytesSent(), 0)
  })
}

test('whether a repository has a blob stays open while the upstream fails', async (t) => {
  const hub = await startHub(t)
  hub.fault({ path: /blobs/ }, { status: 500 })
  await failsWith(clientOf(t, hub.url).hasBlob(repository, layer.digest), 'SERVER_ERROR')
})

test('the blobs of other repositories and hostile headers change nothing', async (t) => {
  const hub = await startHub(t)
  const headers = { 'Set-Cookie': 'a=b', 'Content-Encoding': 'gzip', Link: '<http://evil/>; rel="next"' }
  hub.fault({}, { headers })
  const client = clientOf(t, hub.url)
  assert.equal((await client.manifest(repository, latest)).bytes.length, image.manifest.size)
  const blob = await client.blob(repository, layer.digest, { position: 0, signal })
  assert.deepEqual(new Uint8Array(await collect(blob.body())), layer.bytes)
  assert.ok(hub.requests.every((request) => request.headers.cookie === undefined))
})

for (const prefix of ['/mirror', '/mirror/', '/a/b/']) {
  test(`the path ${prefix} of an upstream's URL is kept`, async (t) => {
    const server = await listen(t, (_request, response) => void response.end('{"name":"a","tags":[]}'))
    const client = clientOf(t, `${server.url}${prefix}`)
    await client.manifest(repository, latest)
    await client.tags(repository, '')
    await client.check()
    const base = `${prefix.replace(/\/$/, '')}/v2/`
    assert.deepEqual(
      server.requests.map(({ url }) => url.replace(/\?$/, '')),
      [`${base}library/alpine/manifests/latest`, `${base}library/alpine/tags/list`, base],
    )
  })
}

test('what an upstream answered is counted by kind', async (t) => {
  const hub = await startHub(t, { cdn: false })
  const client = clientOf(t, hub.url)
  await client.manifestDigest(repository, latest)
  await client.hasBlob(repository, missing)
  await client.tags(repository, 'n=1')
  assert.deepEqual(Object.fromEntries(client.counters.requests), {
    'HEAD manifest 401': 1,
    'HEAD manifest 200': 1,
    'HEAD blob 404': 1,
    'GET tags 200': 1,
  })
})

test('a large blob is passed on, not collected', async (t) => {
  const handler: RequestListener = (_request, response) => void response.end(pseudoRandomBytes(8_000_000, 1))
  const server = await listen(t, handler)
  const blob = await clientOf(t, server.url).blob(repository, missing, { position: 0, signal })
  let largest = 0
  for await (const chunk of blob.body()) largest = Math.max(largest, chunk.length)
  assert.ok(largest > 0 && largest <= 1024 * 1024, `${largest} bytes`)
})
