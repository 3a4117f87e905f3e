/**
 * A layer that is fetched for a mirrored repository, pushed to a local one and pulled from both, at the same time. Thought
 * of: the push ends in the middle of the fill; the fill ends first; two pushes at once; the readers of each; bytes over
 * the line; and rights: neither way of coming here gives anything to a repository that nobody gave it to.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pull } from '../support/client.ts'
import { startDockerHub } from '../support/docker-hub.ts'
import { buildImage, pseudoRandomBytes } from '../support/images.ts'
import { startMirror } from '../support/mirror.ts'
import { beginUpload, pushBlob, pushManifest, send, withDigest } from '../support/push.ts'
import { until } from '../support/settle.ts'

const mebibyte = 1024 * 1024

async function stage() {
  await using all = new AsyncDisposableStack()
  const hub = all.use(await startDockerHub())
  // By one connection: where the machine is slow, more would be tried.
  const config = { 'cache.negative': '0s', 'limits.connections': 1 }
  const mirror = all.use(await startMirror({ upstream: hub.url, config }))
  const image = buildImage({ layers: [pseudoRandomBytes(8 * mebibyte, 'shared layer')], seed: 'shared' })
  hub.addImage('library/app', 'v1', image)
  hub.addImage('library/other', 'v1', buildImage({ seed: 'other' }))
  const [layer] = image.layers
  assert.ok(layer)
  await pull(`${mirror.url}/v2/library/app/manifests/v1`)
  const owned = all.move()
  return {
    hub,
    mirror,
    image,
    layer,
    mirrored: `${mirror.url}/v2/library/app`,
    local: `${mirror.url}/v2/app`,
    lineBytes: () => mirror.metric('larder_upstream_received_bytes_total'),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

test('a push ends in the middle of the fill: its readers get the rest from here, and no byte crosses twice', async () => {
  await using s = await stage()
  const { layer, mirrored, local } = s
  using hold = s.hub.hold({ listener: 'cdn', digest: layer.digest }, 3 * mebibyte)
  const begun = Promise.withResolvers<void>()
  const filling = pull(`${mirrored}/blobs/${layer.digest}`, { onBytes: () => begun.resolve() })
  await hold.reached
  await begun.promise
  const questions = () => s.hub.count({ listener: 'cdn', digest: layer.digest, method: 'GET' })
  // More than one where a slow machine looks like a long way.
  const asked = questions()
  // What is on its way for somebody else is not in this repository.
  const has = async (repository: string) => (await send('HEAD', `${repository}/blobs/${layer.digest}`)).status
  assert.equal(await has(local), 404)
  await pushBlob(local, layer)
  assert.equal(await has(local), 200)
  const [pulled, filled] = await Promise.all([pull(`${local}/blobs/${layer.digest}`), filling])
  for (const { status, isComplete, digest } of [pulled, filled]) {
    assert.deepEqual([status, isComplete, digest], [200, true, layer.digest])
  }
  assert.equal(pulled.headers['x-larder-cache'], 'hit')
  hold.release()
  await until(async () => (await s.mirror.metric('larder_fills_running')) === 0)
  assert.ok((await s.lineBytes()) <= layer.size, `${await s.lineBytes()} of ${layer.size}`)
  assert.equal(questions(), asked)
})

test('all at once: one byte over the line once, and no right that nobody gave', async () => {
  await using s = await stage()
  const { layer, image, mirrored, local, mirror } = s
  const two = await Promise.all([1, 2].map(() => beginUpload(local)))
  await Promise.all(two.map((url) => send('PATCH', url, { body: layer.bytes })))
  const work = [
    ...[1, 2, 3].map(() => pull(`${mirrored}/blobs/${layer.digest}`)),
    ...two.map((url) => send('PUT', withDigest(url, layer.digest))),
  ]
  const statuses = (await Promise.all(work)).map(({ status }) => status)
  assert.deepEqual(statuses, [200, 200, 200, 201, 201])
  await until(async () => (await mirror.metric('larder_fills_running')) === 0)
  assert.ok((await s.lineBytes()) <= layer.size)
  await pushBlob(local, image.config)
  assert.equal((await pushManifest(local, 'v1', image.manifest)).status, 201)
  assert.equal((await pull(`${local}/blobs/${layer.digest}`)).digest, layer.digest)

  // A mirrored repository whose own upstream does not have it, and a local one that nobody pushed it to.
  for (const stranger of [`${mirror.url}/v2/library/other`, `${mirror.url}/v2/local/other`]) {
    for (const method of ['GET', 'HEAD']) {
      const { status } = await pull(`${stranger}/blobs/${layer.digest}`, { method })
      assert.equal(status, 404, `${method} ${stranger}`)
    }
    assert.equal((await pull(`${stranger}/manifests/${image.manifest.digest}`)).status, 404)
  }
  const named = await pushManifest(`${mirror.url}/v2/local/other`, 'v1', image.manifest)
  assert.equal(named.code, 'MANIFEST_BLOB_UNKNOWN')
})

test('what was only pushed here is not given to a mirrored repository that names it', async () => {
  await using s = await stage()
  const secret = buildImage({ layers: [pseudoRandomBytes(100_000, 'secret')], seed: 'secret' })
  const [layer] = secret.layers
  assert.ok(layer)
  await pushBlob(s.local, layer)
  await pushBlob(s.local, secret.config)
  await pushManifest(s.local, 'v1', secret.manifest)
  // An upstream repository whose manifest names the blob, which it does not have.
  s.hub.addImage('library/thief', 'v1', secret)
  s.hub.fault({ digest: layer.digest }, { status: 404 })
  s.hub.fault({ digest: secret.config.digest }, { status: 404 })
  const thief = `${s.mirror.url}/v2/library/thief`
  assert.equal((await pull(`${thief}/manifests/v1`)).status, 200)
  for (const method of ['HEAD', 'GET', 'HEAD']) {
    const { status } = await pull(`${thief}/blobs/${layer.digest}`, { method })
    assert.equal(status, 404, method)
  }
})
