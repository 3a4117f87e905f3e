/**
 * Manifests of local repositories over real sockets. Thought of: by tag and by digest; blobs and child manifests that are
 * missing, held by other repositories, or stored for a mirrored one only; the same manifest again, a tag that moves; the
 * wrong digest, no type, another type than the body says, of nothing known, of schema 1; what is no JSON; too long with
 * and without a length; indexes, artifacts with a subject, and the list of what refers to it; pages of tags.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import {
  blobOf,
  buildImage,
  buildIndex,
  descriptorOf,
  mediaTypes,
  type TestBlob,
  type TestImage,
} from '../support/images.ts'
import { startMirror, type TestMirror } from '../support/mirror.ts'
import { pushBlob, pushImage, pushManifest, send } from '../support/push.ts'

const parts = new AsyncDisposableStack()
let hub: DockerHub
let mirror: TestMirror

before(async () => {
  hub = parts.use(await startDockerHub())
  mirror = parts.use(await startMirror({ upstream: hub.url }))
})
after(() => parts.disposeAsync())

function at(name: string): string {
  return `${mirror.url}/v2/${name}`
}

async function pushBlobs(repository: string, { config, layers }: TestImage): Promise<void> {
  for (const blob of [config, ...layers]) await pushBlob(repository, blob)
}

function json(content: object, mediaType: string = mediaTypes.oci.manifest): TestBlob {
  return blobOf(Buffer.from(JSON.stringify(content)), mediaType)
}

test('a manifest whose blobs are missing: refused with their digests, and nothing of it is there', async () => {
  const image = buildImage({ seed: 'missing', layers: [500, 600] })
  const [first, second] = image.layers
  assert.ok(first && second)
  await pushBlob(at('missing'), image.config)
  await pushBlob(at('missing'), first)
  await pushBlob(at('elsewhere'), second)
  const { status, code, message, text } = await pushManifest(at('missing'), 'v1', image.manifest)
  assert.deepEqual([status, code], [404, 'MANIFEST_BLOB_UNKNOWN'])
  assert.match(message ?? '', new RegExp(`push ${second.digest} first`))
  assert.deepEqual(JSON.parse(text).errors[0].detail, [{ digest: second.digest }])
  assert.equal((await pull(`${at('missing')}/manifests/${image.manifest.digest}`)).status, 404)
  await pushBlob(at('missing'), second)
  assert.equal((await pushManifest(at('missing'), 'v1', image.manifest)).status, 201)
})

test('bytes that are here for a mirrored repository are not there for a push, and a push gives none to it', async () => {
  const shared = buildImage({ seed: 'shared', layers: [70_000] })
  hub.addImage('library/shared', 'v1', shared)
  const mirrored = at('library/shared')
  for (const path of ['manifests/v1', ...shared.layers.map(({ digest }) => `blobs/${digest}`)]) {
    assert.equal((await pull(`${mirrored}/${path}`)).status, 200)
  }
  const [layer] = shared.layers
  assert.ok(layer)
  assert.equal((await pull(`${at('own')}/blobs/${layer.digest}`, { method: 'HEAD' })).status, 404)
  await pushBlob(at('own'), shared.config)
  assert.equal((await pushManifest(at('own'), 'v1', shared.manifest)).code, 'MANIFEST_BLOB_UNKNOWN')
  // The other way round: the upstream has no such blob.
  const secret = blobOf(Buffer.from('pushed here, and nowhere else'))
  await pushBlob(at('own'), secret)
  hub.reset()
  for (const method of ['GET', 'HEAD']) {
    assert.equal((await pull(`${mirrored}/blobs/${secret.digest}`, { method })).status, 404, method)
  }
  assert.ok(hub.count({ digest: secret.digest }) > 0, 'its own upstream was asked')
})

test('a manifest is put by its digest, again, and under another tag; a tag moves', async () => {
  const [one, two] = ['one', 'two'].map((seed) => buildImage({ seed, layers: [100] }))
  assert.ok(one && two)
  const repository = at('moves')
  await pushBlobs(repository, one)
  await pushBlobs(repository, two)
  const byDigest = await pushManifest(repository, one.manifest.digest, one.manifest)
  assert.deepEqual(
    [byDigest.status, byDigest.headers.location, byDigest.headers['docker-content-digest']],
    [201, `/v2/moves/manifests/${one.manifest.digest}`, one.manifest.digest],
  )
  const manifestAt = async (reference: string) => (await pull(`${repository}/manifests/${reference}`)).digest
  assert.equal(await manifestAt(one.manifest.digest), one.manifest.digest)
  for (const image of [one, one, two, one]) {
    const put = await pushManifest(repository, 'latest', image.manifest)
    assert.deepEqual(
      [put.status, put.headers.location],
      [201, `/v2/moves/manifests/${image.manifest.digest}`],
    )
    assert.equal(await manifestAt('latest'), image.manifest.digest)
  }
  assert.equal(await manifestAt(two.manifest.digest), two.manifest.digest)
  const wrong = await pushManifest(repository, two.manifest.digest, one.manifest)
  assert.deepEqual([wrong.status, wrong.code], [400, 'DIGEST_INVALID'])
  const { bytes } = one.manifest
  const sha512 = digestOf(bytes, 'sha512')
  assert.equal((await pushManifest(repository, sha512, one.manifest)).status, 201)
  assert.equal((await pull(`${repository}/manifests/${sha512}`)).digest, one.manifest.digest)
})

test('what is no manifest is refused with the reason', async () => {
  const repository = at('invalid')
  const image = buildImage({ seed: 'invalid', layers: [100] })
  await pushBlobs(repository, image)
  const text = Buffer.from(image.manifest.bytes).toString()
  const content = JSON.parse(text)
  const cases: Record<string, TestBlob> = {
    'no JSON': blobOf(Buffer.from('{'), mediaTypes.oci.manifest),
    nothing: blobOf(new Uint8Array(), mediaTypes.oci.manifest),
    'a type of its own': json({ ...content, mediaType: 'text/html' }, 'text/html'),
    'another type than it says': json(content, mediaTypes.docker.manifest),
    'schema 1': json(
      { schemaVersion: 1, fsLayers: [] },
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
    ),
    'a descriptor without a digest': json({ ...content, layers: [{ mediaType: 'a/b', size: 1 }] }),
    'no config, layers or manifests': json({ schemaVersion: 2, mediaType: mediaTypes.oci.manifest }),
    'layers beside layers': blobOf(
      Buffer.from(text.replace('"layers"', '"layers":[],"layers"')),
      mediaTypes.oci.manifest,
    ),
    'a digest beside a digest, escaped': blobOf(
      Buffer.from(text.replace('"digest"', '"dig\\u0065st" : "a","digest"')),
      mediaTypes.oci.manifest,
    ),
    'Layers beside layers': json({ ...content, Layers: [] }),
    'Layers alone': json({ ...content, layers: undefined, Layers: content.layers }),
    'a long s': json({ ...content, layerſ: [] }),
    'a Digest in a descriptor': json({ ...content, config: { ...content.config, Digest: 'x' } }),
    'the version of schema 1': json({ ...content, schemaVersion: 1 }),
    'no version': json({ ...content, schemaVersion: undefined }),
    'a version in words': json({ ...content, schemaVersion: '2' }),
    'layers and manifests': json({ ...content, manifests: [] }),
  }
  for (const [what, manifest] of Object.entries(cases)) {
    const { status, code, message } = await pushManifest(repository, 'v1', manifest)
    assert.deepEqual([status, code], [400, 'MANIFEST_INVALID'], what)
    assert.ok((message ?? '').length > 20, what)
  }
  assert.equal((await pushManifest(repository, '.hidden', image.manifest)).code, 'TAG_INVALID')
  assert.equal((await pushManifest(repository, 'sha256:abc', image.manifest)).code, 'DIGEST_INVALID')
  const annotated = json({ ...content, annotations: { size: '1', Size: '2', 'a "quoted": key': '{' } })
  assert.equal((await pushManifest(repository, 'annotated', annotated)).status, 201)
  const untyped = await send('PUT', `${repository}/manifests/untyped`, { body: image.manifest.bytes })
  assert.equal(untyped.status, 201, 'its body tells what it is')
})

test('a manifest that is too long is refused before it is read, and with it nothing else', async () => {
  const limit = 4 * 1024 * 1024
  const piece = Buffer.alloc(1024 * 1024, ' ')
  for (const body of [Buffer.alloc(limit + 1, ' '), Array.from({ length: 64 }, () => piece)]) {
    const { status, code } = await send('PUT', `${at('long')}/manifests/v1`, { body })
    assert.deepEqual([status, code], [413, 'MANIFEST_INVALID'])
  }
  const padded = buildImage({ seed: 'padded', layers: [10] })
  await pushBlobs(at('long'), padded)
  const bytes = Buffer.alloc(limit, ' ')
  bytes.set(padded.manifest.bytes)
  assert.equal((await pushManifest(at('long'), 'v1', blobOf(bytes, padded.manifest.mediaType))).status, 201)
})

test('layers that only their vendor hands out need not be pushed, and everything else has to be', async () => {
  const repository = at('windows')
  const image = buildImage({ seed: 'windows', layers: [100] })
  const content = JSON.parse(Buffer.from(image.manifest.bytes).toString())
  const foreign = (mediaType: string) => ({ mediaType, size: 5, digest: digestOf(Buffer.from(mediaType)) })
  const vendors = json({
    ...content,
    layers: [
      foreign('application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'),
      foreign('application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'),
      ...content.layers,
    ],
  })
  const early = await pushManifest(repository, 'v1', vendors)
  assert.equal(early.code, 'MANIFEST_BLOB_UNKNOWN')
  await pushBlobs(repository, image)
  assert.equal((await pushManifest(repository, 'v1', vendors)).status, 201)
  assert.equal((await pull(`${repository}/manifests/v1`)).digest, vendors.digest)
})

test('an index needs its manifests; both media types of each come back to the letter', async () => {
  for (const family of ['oci', 'docker'] as const) {
    const images = ['amd64', 'arm64'].map((architecture) =>
      buildImage({ seed: architecture, platform: { os: 'linux', architecture }, mediaTypes: family }),
    )
    const index = buildIndex(images, family === 'docker' ? { mediaTypes: family } : undefined)
    const repository = at(`local/index/${family}`)
    for (const image of images) await pushBlobs(repository, image)
    const early = await pushManifest(repository, 'v1', index.manifest)
    assert.equal(early.code, 'MANIFEST_BLOB_UNKNOWN', family)
    for (const { manifest } of images) {
      assert.equal((await pushManifest(repository, manifest.digest, manifest)).status, 201)
    }
    assert.equal((await pushManifest(repository, 'v1', index.manifest)).status, 201)
    const pulled = await pull(`${repository}/manifests/v1`)
    assert.deepEqual(
      [pulled.digest, pulled.headers['content-type']],
      [index.manifest.digest, mediaTypes[family].index],
    )
  }
})

test('what refers to an image is listed, before the image is there as well', async () => {
  const image = buildImage({ seed: 'subject', layers: [10] })
  const repository = at('signed')
  const signature = buildImage({
    seed: 'signature',
    subject: image.manifest,
    artifactType: 'application/vnd.test.signature',
    annotations: { by: 'ann' },
  })
  await pushBlobs(repository, signature)
  const put = await pushManifest(repository, signature.manifest.digest, signature.manifest)
  assert.deepEqual([put.status, put.headers['oci-subject']], [201, image.manifest.digest])
  await pushImage(repository, 'v1', image)
  const list = async (query = '') => {
    const { text } = await pull(`${repository}/referrers/${image.manifest.digest}${query}`)
    return JSON.parse(text).manifests
  }
  assert.deepEqual(await list(), [
    {
      mediaType: mediaTypes.oci.manifest,
      digest: signature.manifest.digest,
      size: signature.manifest.size,
      artifactType: 'application/vnd.test.signature',
      annotations: { by: 'ann' },
    },
  ])
  assert.deepEqual(await list('?artifactType=text/plain'), [])
})

test('the tags of a repository come in pages', async () => {
  const image = buildImage({ seed: 'tags', layers: [10] })
  const repository = at('tagged')
  await pushBlobs(repository, image)
  for (const tag of ['c', 'a', 'B', 'b']) await pushManifest(repository, tag, image.manifest)
  const pages: string[][] = []
  let next: string | undefined = '/v2/tagged/tags/list?n=3'
  while (next !== undefined) {
    const { text, headers } = await pull(mirror.url + next)
    pages.push(JSON.parse(text).tags)
    next = /^<([^>]+)>; rel="next"$/.exec(String(headers.link ?? ''))?.[1]
  }
  assert.deepEqual(pages, [['B', 'a', 'b'], ['c']])
  assert.deepEqual(JSON.parse((await pull(`${repository}/tags/list?n=0`)).text).tags, [])
  assert.deepEqual(JSON.parse((await pull(`${repository}/tags/list?last=b`)).text).tags, ['c'])
})

test('a manifest of the largest size with thousands of layers keeps nobody waiting, and lists some of what is missing', async () => {
  const config = blobOf(Buffer.from('{"of":"thousands"}'), mediaTypes.oci.config)
  await pushBlob(at('thousands'), config)
  const layersOf = (mediaType: string, count: number) =>
    Array.from({ length: count }, (_, n) => ({ mediaType, size: 1, digest: digestOf(Buffer.from(`${n}`)) }))
  const manifestOf = (layers: object[]) =>
    json({ schemaVersion: 2, mediaType: mediaTypes.oci.manifest, config: descriptorOf(config), layers })
  const vendors = layersOf('application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', 20_000)
  const absent = layersOf('a/b', 20_000)
  const whileRefused = process.cpuUsage()
  const { status, message, text } = await pushManifest(at('thousands'), 'v2', manifestOf(absent))
  const refusedFor = process.cpuUsage(whileRefused).user
  assert.equal(status, 404)
  assert.match(message ?? '', /and 19997 more first$/)
  assert.equal(JSON.parse(text).errors[0].detail.length, 100)
  const whileTaken = process.cpuUsage()
  assert.equal((await pushManifest(at('thousands'), 'v1', manifestOf(vendors))).status, 201)
  const takenFor = process.cpuUsage(whileTaken).user
  assert.ok(takenFor < 3 * refusedFor, `${takenFor} µs, and ${refusedFor} µs for as many that are refused`)
})
