/**
 * Deletes over real sockets. Thought of: a tag, one of several, the last one; a manifest by digest, with tags, below an
 * index, with referrers, that is not there; a blob that is needed, is not any more, that another repository has, that was
 * read a moment ago and lies in memory, that is being read; deleting twice, and pushing again; a restart; deleting
 * switched off; a tag for a manifest's digest, a manifest's digest for a blob's.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { digestOf } from '../../src/oci/digest.ts'
import { pull } from '../support/client.ts'
import { type DockerHub, startDockerHub } from '../support/docker-hub.ts'
import { blobOf, buildImage, descriptorOf, mediaTypes, pseudoRandomBytes } from '../support/images.ts'
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
  return `${mirror.url}/v2/local/${name}`
}

async function remove(url: string) {
  const { status, code, message, text } = await send('DELETE', url)
  return { status, code, message: message ?? '', text }
}

async function statuses(url: string): Promise<number[]> {
  return Promise.all(['GET', 'HEAD'].map(async (method) => (await pull(url, { method })).status))
}

function fileOf(digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':')
  return join(mirror.directory, 'blobs', algorithm, hex.slice(0, 2), hex)
}

test('a tag is deleted alone: its manifest and other tags stay', async () => {
  const image = buildImage({ seed: 'tag', layers: [100] })
  for (const tag of ['v1', 'v2']) await pushImage(at('tag'), tag, image)
  assert.deepEqual(await remove(`${at('tag')}/manifests/v1`), {
    status: 202,
    code: undefined,
    message: '',
    text: '',
  })
  assert.deepEqual(await statuses(`${at('tag')}/manifests/v1`), [404, 404])
  for (const reference of ['v2', image.manifest.digest])
    assert.deepEqual(await statuses(`${at('tag')}/manifests/${reference}`), [200, 200], reference)
  assert.deepEqual(JSON.parse((await pull(`${at('tag')}/tags/list`)).text).tags, ['v2'])
  const [line] = mirror.events('deleted').filter(({ repository }) => repository === 'local/tag')
  assert.deepEqual([line?.reference, line?.digest], ['v1', image.manifest.digest])
  const again = await remove(`${at('tag')}/manifests/v1`)
  assert.deepEqual([again.status, again.code], [404, 'MANIFEST_UNKNOWN'])
  assert.match(again.message, /local\/tag has no manifest v1/)
})

test('a manifest is deleted by its digest, with all its tags, and can be pushed again', async () => {
  const image = buildImage({ seed: 'digest', layers: [100] })
  const other = buildImage({ seed: 'other', layers: [100] })
  for (const tag of ['v1', 'v2']) await pushImage(at('digest'), tag, image)
  await pushImage(at('digest'), 'v3', other)
  const url = `${at('digest')}/manifests/${image.manifest.digest}`
  assert.equal((await remove(url)).status, 202)
  for (const reference of ['v1', 'v2', image.manifest.digest])
    assert.deepEqual(await statuses(`${at('digest')}/manifests/${reference}`), [404, 404], reference)
  assert.deepEqual(JSON.parse((await pull(`${at('digest')}/tags/list`)).text).tags, ['v3'])
  assert.deepEqual([(await remove(url)).status, (await remove(url)).code], [404, 'MANIFEST_UNKNOWN'])
  // Nothing of it was uploaded anew.
  assert.equal((await pushManifest(at('digest'), 'v1', image.manifest)).status, 201)
  assert.deepEqual(await statuses(url), [200, 200])
  const [deleted] = mirror.events('deleted').filter(({ repository }) => repository === 'local/digest')
  assert.deepEqual([deleted?.client, deleted?.reference], ['127.0.0.1', image.manifest.digest])
})

test('a blob that a manifest needs is not deleted; once nothing does it is gone at once, from the disk too', async () => {
  const image = buildImage({ seed: 'blob', layers: [100, 70_000] })
  await pushImage(at('blob'), 'v1', image)
  const manifest = `${at('blob')}/manifests/${image.manifest.digest}`
  const blobs = [image.config, ...image.layers]
  for (const { digest } of blobs) {
    // What is small is in memory from now on.
    assert.deepEqual(await statuses(`${at('blob')}/blobs/${digest}`), [200, 200])
    const { status, code, message } = await remove(`${at('blob')}/blobs/${digest}`)
    assert.deepEqual([status, code], [405, 'UNSUPPORTED'])
    assert.match(message, new RegExp(`${image.manifest.digest} of local/blob needs it`))
    assert.deepEqual(await statuses(`${at('blob')}/blobs/${digest}`), [200, 200])
  }
  assert.equal((await remove(manifest)).status, 202)
  for (const { digest } of blobs) {
    assert.equal(existsSync(fileOf(digest)), true)
    assert.equal((await remove(`${at('blob')}/blobs/${digest}`)).status, 202)
    assert.deepEqual(await statuses(`${at('blob')}/blobs/${digest}`), [404, 404])
    assert.equal(existsSync(fileOf(digest)), false)
    const again = await remove(`${at('blob')}/blobs/${digest}`)
    assert.deepEqual([again.status, again.code], [404, 'BLOB_UNKNOWN'])
  }
  assert.equal((await pushManifest(at('blob'), 'v1', image.manifest)).code, 'MANIFEST_BLOB_UNKNOWN')
  await pushImage(at('blob'), 'v1', image)
  assert.deepEqual(await statuses(manifest), [200, 200])
})

test('bytes that another repository was pushed as well, or mirrors, stay', async () => {
  const image = buildImage({ seed: 'shared', layers: [70_000] })
  const [layer] = image.layers
  assert.ok(layer)
  for (const name of ['one', 'two']) await pushBlob(at(name), layer)
  assert.equal((await remove(`${at('one')}/blobs/${layer.digest}`)).status, 202)
  assert.deepEqual(await statuses(`${at('one')}/blobs/${layer.digest}`), [404, 404])
  assert.deepEqual(await statuses(`${at('two')}/blobs/${layer.digest}`), [200, 200])
  hub.addImage('library/shared', 'v1', image)
  const mirrored = `${mirror.url}/v2/library/shared`
  assert.equal((await pull(`${mirrored}/manifests/v1`)).status, 200)
  assert.equal((await pull(`${mirrored}/blobs/${layer.digest}`)).status, 200)
  assert.equal((await remove(`${at('two')}/blobs/${layer.digest}`)).status, 202)
  hub.reset()
  assert.equal((await pull(`${mirrored}/blobs/${layer.digest}`)).digest, layer.digest)
  assert.equal(hub.count(), 0, 'it is cache now')
})

test('whoever reads a blob as it is deleted gets the whole of it', async () => {
  const blob = blobOf(pseudoRandomBytes(4_000_000, 'reader'))
  await pushBlob(at('reader'), blob)
  const url = `${at('reader')}/blobs/${blob.digest}`
  let deleted: Promise<number> | undefined
  const pulled = await pull(url, {
    bytesPerSecond: 8_000_000,
    // With the first piece, once: of two that delete it one is told that it is not there.
    onBytes: () => {
      deleted ??= remove(url).then(({ status }) => status)
    },
  })
  assert.equal(await deleted, 202)
  assert.deepEqual([pulled.isComplete, pulled.digest], [true, blob.digest])
  assert.deepEqual(await statuses(url), [404, 404])
})

test('what an index lists is deleted after it; what others are about, at once', async () => {
  const image = buildImage({ seed: 'child', layers: [100] })
  await pushImage(at('index'), 'child', image)
  const json = (content: object, mediaType: string) => blobOf(Buffer.from(JSON.stringify(content)), mediaType)
  const index = json(
    { schemaVersion: 2, mediaType: mediaTypes.oci.index, manifests: [descriptorOf(image.manifest)] },
    mediaTypes.oci.index,
  )
  const artifact = json(
    {
      schemaVersion: 2,
      mediaType: mediaTypes.oci.manifest,
      config: descriptorOf(image.config),
      layers: [],
      subject: descriptorOf(index),
    },
    mediaTypes.oci.manifest,
  )
  assert.equal((await pushManifest(at('index'), 'all', index)).status, 201)
  assert.equal((await pushManifest(at('index'), artifact.digest, artifact)).status, 201)
  const child = `${at('index')}/manifests/${image.manifest.digest}`
  const { status, code, message } = await remove(child)
  assert.deepEqual([status, code], [405, 'UNSUPPORTED'])
  assert.match(message, new RegExp(`${index.digest} of local/index needs it; delete that one first`))
  assert.deepEqual(await statuses(child), [200, 200])
  assert.equal((await remove(`${at('index')}/manifests/${index.digest}`)).status, 202)
  assert.deepEqual(await statuses(child), [200, 200])
  const referrers = async () =>
    JSON.parse((await pull(`${at('index')}/referrers/${index.digest}`)).text).manifests.length
  assert.equal(await referrers(), 1, 'its own manifest is not gone')
  assert.equal((await remove(`${at('index')}/manifests/${artifact.digest}`)).status, 202)
  assert.equal(await referrers(), 0)
  assert.equal((await remove(child)).status, 202)
})

test('a manifest is no blob, and a blob no manifest', async () => {
  const image = buildImage({ seed: 'kinds', layers: [100] })
  await pushImage(at('kinds'), 'v1', image)
  const asBlob = await remove(`${at('kinds')}/blobs/${image.manifest.digest}`)
  assert.deepEqual([asBlob.status, asBlob.code], [404, 'BLOB_UNKNOWN'])
  const asManifest = await remove(`${at('kinds')}/manifests/${image.config.digest}`)
  assert.deepEqual([asManifest.status, asManifest.code], [404, 'MANIFEST_UNKNOWN'])
  for (const path of ['manifests/v1', `blobs/${digestOf(Buffer.from('nothing'))}`])
    assert.equal((await remove(`${at('never')}/${path}`)).status, 404)
  assert.deepEqual(await statuses(`${at('kinds')}/manifests/v1`), [200, 200])
})

test('what was deleted stays so after a restart', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'larder-deletes-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const image = buildImage({ seed: 'restart', layers: [100] })
  {
    await using first = await startMirror({ directory, upstream: hub.url })
    await pushImage(`${first.url}/v2/app`, 'v1', image)
    await pushImage(`${first.url}/v2/app`, 'v2', buildImage({ seed: 'stays', layers: [100] }))
    assert.equal((await remove(`${first.url}/v2/app/manifests/${image.manifest.digest}`)).status, 202)
  }
  await using second = await startMirror({ directory, upstream: hub.url })
  for (const reference of ['v1', image.manifest.digest])
    assert.deepEqual(await statuses(`${second.url}/v2/app/manifests/${reference}`), [404, 404])
  assert.deepEqual(JSON.parse((await pull(`${second.url}/v2/app/tags/list`)).text).tags, ['v2'])
})

test('deleting switched off: 405 for all, and nothing is touched', async () => {
  await using own = await startMirror({ upstream: hub.url, config: { 'local.delete': false } })
  const image = buildImage({ seed: 'off', layers: [100] })
  hub.addImage('library/off', 'v1', image)
  await pushImage(`${own.url}/v2/app`, 'v1', image)
  assert.equal((await pull(`${own.url}/v2/library/off/manifests/v1`)).status, 200)
  for (const name of ['app', 'library/off', 'never']) {
    const references = ['manifests/v1', `manifests/${image.manifest.digest}`, `blobs/${image.config.digest}`]
    for (const path of references) {
      const { status, code, message, headers } = await send('DELETE', `${own.url}/v2/${name}/${path}`)
      assert.deepEqual([status, code], [405, 'UNSUPPORTED'], `${name}/${path}`)
      assert.match(message ?? '', /nothing can be deleted here \(local\.delete: false/)
      assert.doesNotMatch(headers.allow ?? '', /DELETE/)
    }
  }
  hub.reset()
  for (const name of ['app', 'library/off'])
    assert.deepEqual(await statuses(`${own.url}/v2/${name}/manifests/v1`), [200, 200], name)
  assert.equal(hub.count(), 0)
  // An upload is given up all the same.
  const begun = await send('POST', `${own.url}/v2/app/blobs/uploads/`)
  assert.equal((await send('DELETE', new URL(begun.headers.location ?? '', own.url))).status, 204)
})
